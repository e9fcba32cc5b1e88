/* Which classes the models take for which, and how far they agree with the labels of each. */
const FEW = 36;

const SHARES = sharesOf(DATA.confusion.cells);
const PER_PAIR = new Map();
for (const one of SUSPECTS) PER_PAIR.set(`${one.given} ${one.suggested}`, (PER_PAIR.get(`${one.given} ${one.suggested}`) ?? 0) + 1);

/** Row label -> column label -> share of the row's predictions; `counts` and `total` beside it. */
function sharesOf(cells) {
  const rows = new Map(), totals = new Map();
  for (const [given, , n] of cells) totals.set(given, (totals.get(given) ?? 0) + n);
  for (const [given, predicted, n] of cells) {
    if (!rows.has(given)) rows.set(given, new Map());
    rows.get(given).set(predicted, n / totals.get(given));
  }
  rows.counts = new Map(cells.map(([given, predicted, n]) => [`${given} ${predicted}`, n]));
  rows.totals = totals;
  return rows;
}

/** The classes that take part in the largest mistakes. */
function mostConfused(number) {
  const worst = new Map();
  for (const [given, row] of SHARES) {
    for (const [predicted, share] of row) {
      if (given === predicted) continue;
      for (const label of [given, predicted]) worst.set(label, Math.max(worst.get(label) ?? 0, share));
    }
  }
  return new Set([...worst].sort((a, b) => b[1] - a[1]).slice(0, number).map(([label]) => label));
}

function ordered(order) {
  const sizes = new Map(DATA.classes.map(([label, images]) => [label, images]));
  const labels = [...DATA.confusion.order];
  if (order === "name") labels.sort((a, b) => a - b);
  if (order === "size") labels.sort((a, b) => (sizes.get(b) ?? 0) - (sizes.get(a) ?? 0));
  return labels;
}

function showPair(given, suggested) {
  Object.assign(state, FRESH, { given: LABELS[given], suggested: suggested === null ? "" : LABELS[suggested], scale: state.scale });
  showAll();
}

function buildConfusion(section) {
  const readout = make("p", { class: "readout", role: "status", "aria-live": "polite" });
  const hint = "Point at a cell to read it; click one to see its suspects.";
  readout.textContent = hint;
  const map = new Heatmap({
    pointed: (given, predicted) => { readout.replaceChildren(...(given === null ? [hint] : told(given, predicted))); },
    chosen: (given, predicted) => { if (PER_PAIR.has(`${given} ${predicted}`)) showPair(given, predicted); },
  });
  const order = make("select", { id: "order" }, make("option", { value: "alike" }, "what is confused side by side"),
    make("option", { value: "name" }, "by name"), make("option", { value: "size" }, "largest first"));
  const all = make("input", { type: "checkbox", id: "all-classes" });
  all.checked = DATA.confusion.order.length <= FEW;
  const redraw = () => {
    const few = all.checked ? null : mostConfused(FEW);
    map.show(ordered(order.value).filter((label) => !few || few.has(label)), SHARES, section.clientWidth - 34);
  };
  for (const control of [order, all]) control.addEventListener("change", redraw);
  const number = DATA.confusion.order.length;
  const controls = make("p", { class: "controls" }, make("label", {}, "Order ", order),
    number > FEW ? make("label", {}, all, ` All ${number} classes (else the ${FEW} that are confused most)`) : null);
  const legend = make("p", { class: "legend quiet" }, make("span", {}, "share of a class’s predictions, on a logarithmic scale:"),
    ...[0.002, 0.01, 0.05, 0.2, 1].map((share) => make("span", { class: "step" }, swatch(share), percent(share, share < 0.01 ? 1 : 0))),
    make("span", { class: "step" }, make("i", { class: "own" }), "agrees with the label"));
  section.append(
    make("div", { class: "panel" }, make("h2", {}, "Which class is taken for which"), controls, readout,
      make("div", { class: "scroller" }, map.element), legend),
    make("div", { class: "panel" }, make("h2", {}, "Confused most often"), pairsTable()));
  redraw();
  return redraw;
}

function swatch(share) {
  const made = make("i");
  made.style.setProperty("--part", `${Math.round(strength(share) * 100)}%`);
  return made;
}

function told(given, predicted) {
  const key = `${given} ${predicted}`, n = SHARES.counts.get(key) ?? 0, total = SHARES.totals.get(given) ?? 0;
  const suspects = PER_PAIR.get(key) ?? 0;
  return [
    make("b", { class: "name" }, LABELS[given]), given === predicted ? " recognised: " : " taken for ",
    ...(given === predicted ? [] : [make("b", { class: "name" }, LABELS[predicted]), ": "]),
    n ? `${percent(n / total, 1)} (${count(n)} of ${counted(total, "prediction")})` : "never",
    given === predicted || !n ? "" : suspects ? `, ${counted(suspects, "suspect")}: click to see` : ", no suspect",
  ];
}

function pairsTable() {
  const rows = DATA.confusion.cells.filter(([given, predicted]) => given !== predicted)
    .map(([given, predicted, n]) => ({ given, predicted, n, share: n / SHARES.totals.get(given), suspects: PER_PAIR.get(`${given} ${predicted}`) ?? 0 }))
    .sort((a, b) => b.n - a.n).slice(0, 60);
  return make("div", { class: "scroller" }, table([
    { name: "now in", kind: "name", text: (row) => LABELS[row.given], sort: (row) => LABELS[row.given] },
    { name: "the models say", kind: "name", text: (row) => LABELS[row.predicted], sort: (row) => LABELS[row.predicted] },
    { name: "predictions", number: true, text: (row) => count(row.n), sort: (row) => row.n },
    { name: "share of the class", number: true, cell: (row) => shareBar(row.share, "suggested", 1), sort: (row) => row.share },
    { name: "suspects", number: true, cell: (row) => suspectsButton(row.suspects, row.given, row.predicted), sort: (row) => row.suspects },
  ], rows));
}

function suspectsButton(number, given, suggested) {
  return number ? button(count(number), () => showPair(given, suggested), { class: "link", title: "Show these suspects" }) : "0";
}

function takenFor(label, share) {
  return make("span", {}, make("span", { class: "name" }, LABELS[label]), " ", make("span", { class: "number" }, `(${percent(share)})`));
}

function buildClasses(section) {
  const perClass = new Map();
  for (const one of SUSPECTS) perClass.set(one.given, (perClass.get(one.given) ?? 0) + 1);
  const rows = DATA.classes.map(([label, images, agreement, chance, near]) => {
    const others = [...(SHARES.get(label) ?? [])].filter(([other]) => other !== label).sort((a, b) => b[1] - a[1]);
    return { label, images, agreement, chance, near, other: others[0] ?? null, suspects: perClass.get(label) ?? 0 };
  });
  const near = rows.filter((row) => row.near);
  section.append(make("div", { class: "panel" },
    make("h2", {}, "How far the models agree with the labels of each class"),
    make("p", { class: "quiet" }, near.length
      ? `${counted(near.length, "class", "classes")} marked “near chance” cannot be judged: what the models suspect there means little.`
      : "No class is near chance: the models can judge all of them."),
    make("div", { class: "scroller" }, table([
      { name: "class", kind: "name", text: (row) => LABELS[row.label], sort: (row) => LABELS[row.label] },
      { name: "images", number: true, text: (row) => count(row.images), sort: (row) => row.images },
      { name: "agreement", number: true, cell: (row) => shareBar(row.agreement, "given", 1), sort: (row) => row.agreement },
      { name: "by chance", number: true, text: (row) => percent(row.chance, 1), sort: (row) => row.chance },
      { name: "", cell: (row) => (row.near ? make("span", { class: "verdict unsure" }, "near chance") : "") },
      { name: "most often taken for", cell: (row) => (row.other ? takenFor(...row.other) : "") },
      { name: "suspects", number: true, cell: (row) => suspectsButton(row.suspects, row.label, null), sort: (row) => row.suspects },
    ], rows))));
}
