/* One suspect: the image, and beside it typical images of both classes. */
const FRAMES = { own: 216, beside: 78 };
const WORDS = { own: "the image in question", given: "typical of", suggested: "typical of" };

/** The card of a suspect; `place` is its number among those shown. */
function card(one, place) {
  const id = `suspect-${one.rank}`;
  const made = make("article", {
    class: "card", id, tabindex: "-1", "aria-posinset": place + 1, "aria-setsize": shown.length,
    "aria-label": `Suspect ${one.rank + 1}, now in ${LABELS[one.given]}, the models say ${LABELS[one.suggested]}`,
  });
  made.append(heading(one), body(one), footing(one));
  made.addEventListener("pointerdown", () => select(place, { scroll: false }));
  return made;
}

function heading(one) {
  const kind = one.verdict;
  return make("header", {},
    make("span", { class: "rank" }, `#${count(one.rank + 1)}`),
    make("span", { class: "votes", title: "of all pairs of models, how many voted for the suggested class" }, `${one.votes} of ${counted(DATA.pairs, "vote")}`),
    make("span", { class: "quiet", title: "natural logarithm of how much more probable another class is" }, `score ${one.score.toFixed(2)}`),
    twins(one),
    make("span", { class: `verdict ${kind}`, title: kind === "unsure" && one.disputed ? "two people differ" : null }, verdictWords(one)));
}

/** Images that are the same, or nearly, by class: those of another class are worth a mark. */
function twins(one) {
  if (!one.twins.length) return null;
  const identical = one.twins.some(([, , same]) => same);
  const labels = [...new Set(one.twins.filter(([, , same]) => same === identical).map(([, at]) => at))];
  const others = labels.filter((at) => at !== one.given);
  const where = others.length ? others.map((at) => LABELS[at]).join(", ") : "the same class";
  return make("span", {
    class: others.length ? "twins other" : "twins quiet",
    title: one.twins.map(([path, , same]) => `${same ? "identical" : "nearly the same"}: ${path}`).join("\n"),
  }, `${identical ? "identical image" : "nearly the same"} in ${where}`);
}

function body(one) {
  const frames = [];
  const sized = (made, image, found) => {
    frames.push({ image, found, side: made.classList.contains("own") ? FRAMES.own : FRAMES.beside });
    resize(frames);
  };
  const own = frame(one.picture, "own", WORDS.own, (made, image, found) => {
    made.append(make("figcaption", {}, `${found.width} × ${found.height} px`));
    sized(made, image, found);
  });
  const row = (words, at, share, pictures, kind) => make("div", { class: `class ${kind}` },
    make("p", { class: "words quiet" }, words, shareBar(share, kind)),
    make("p", { class: "name", title: LABELS[at] }, LABELS[at]),
    make("div", { class: "row" }, ...pictures.map((number) => frame(number, "beside", `${WORDS[kind]} ${LABELS[at]}`,
      (made, image, found) => {
        made.title = `${LABELS[at]}, ${found.width} × ${found.height} px`;
        sized(made, image, found);
      })),
      pictures.length ? null : make("span", { class: "quiet none" }, "no typical image")));
  return make("div", { class: "body" }, own, make("div", { class: "classes" },
    row("now in", one.given, one.pGiven, one.besideGiven, "given"),
    row("the models say", one.suggested, one.pSuggested, one.besideSuggested, "suggested")));
}

/** Sizes stay comparable within a card: of two images the larger is shown larger. True to scale, all are enlarged alike;
 * else by the root of their size, so that a small one can still be seen. */
function resize(frames) {
  const power = state.scale ? 1 : 0.5;
  const extent = ({ found }) => Math.max(found.width, found.height) ** power;
  for (const group of [FRAMES.own, FRAMES.beside]) {
    const largest = Math.max(...frames.map((one) => (state.scale ? extent(one) * (group / one.side) : one.side === group ? extent(one) : 0)));
    for (const one of frames) {
      if (one.side !== group) continue;
      const longer = group * (extent(one) / largest);
      const long = Math.max(one.found.width, one.found.height);
      one.image.style.width = `${Math.max(1, Math.round(longer * one.found.width / long))}px`;
      one.image.style.height = `${Math.max(1, Math.round(longer * one.found.height / long))}px`;
    }
  }
}

function footing(one) {
  const path = make("span", { class: "path", title: one.path }, one.path);
  const copy = button("copy", () => copyPath(one, copy), { class: "plain", title: "Copy the file's path (c)", tabindex: "-1" });
  return make("footer", {}, path, copy);
}

/** Puts the file's path on the clipboard; where a browser refuses, selects it. */
async function copyPath(one, told) {
  const text = `${DATA.dataset}/${one.path}`;
  try {
    await navigator.clipboard.writeText(text);
    told.textContent = "copied";
  } catch {
    const path = told.parentElement.querySelector(".path");
    path.textContent = text;
    getSelection().selectAllChildren(path);
    told.textContent = "press Ctrl+C";
  }
  setTimeout(() => { told.textContent = "copy"; }, 1500);
}
