/* The page itself: views, filters, keys. */
const KEYS = [
  ["j  →", "next suspect"], ["k  ←", "the one before"], ["↓ ↑", "a row on, a row back"], ["PageDown PageUp", "a screen on, a screen back"],
  ["Home End", "first and last"], ["/", "search in paths and classes"], ["c", "copy the file’s path"], ["s", "sizes true to scale, or not"],
  ["1 … 5", "suspects, confusion, classes, review, about"], ["Esc", "leave a field; clear the filters"], ["?", "this list"],
];
const built = new Map();

function showAll() {
  for (const view of VIEWS) {
    const current = view === state.view, tab = byId(`tab-${view}`);
    byId(`view-${view}`).hidden = !current;
    tab.setAttribute("aria-selected", current);
    tab.tabIndex = current ? 0 : -1;
  }
  for (const id of ["filters", "left"]) byId(id).hidden = state.view !== "suspects";
  byId("clear").hidden = true;
  byId("given").value = state.given;
  byId("suggested").value = state.suggested;
  byId("low").value = state.low ?? "";
  byId("high").value = state.high ?? "";
  byId("verdict").value = state.verdict;
  byId("text").value = state.text;
  byId("scale").checked = state.scale;
  if (state.view === "suspects") showList();
  else {
    build(state.view);
    scrollTo(0, 0);
  }
  laterAddress();
}

function build(view) {
  const builders = { confusion: buildConfusion, classes: buildClasses, review: buildReview, about: buildAbout };
  if (!built.has(view)) built.set(view, builders[view](byId(`view-${view}`)) ?? (() => {}));
}

function show(view) {
  state.view = view;
  showAll();
}

function filter(changes) {
  Object.assign(state, changes, { at: 0 });
  showAll();
}

function readFilters() {
  const number = (id) => (byId(id).value === "" ? null : Math.max(0, Math.round(Number(byId(id).value))));
  filter({ given: byId("given").value, suggested: byId("suggested").value, low: number("low"), high: number("high"),
    verdict: byId("verdict").value, text: byId("text").value });
}

function prepareFilters() {
  for (const side of ["given", "suggested"]) {
    const numbers = new Map();
    for (const one of SUSPECTS) numbers.set(one[side], (numbers.get(one[side]) ?? 0) + 1);
    byId(`${side}-list`).append(...[...numbers].sort((a, b) => b[1] - a[1])
      .map(([label, number]) => make("option", { value: LABELS[label], label: `${LABELS[label]} (${count(number)})` })));
  }
  for (const [value, words] of Object.entries(VERDICTS)) {
    const number = SUSPECTS.filter((one) => hasVerdict(one, value)).length;
    if (number || !value) byId("verdict").append(make("option", { value }, `${words} (${count(number)})`));
  }
  for (const id of ["low", "high"]) byId(id).max = DATA.pairs;
  byId("low").placeholder = "0";
  byId("high").placeholder = DATA.pairs;
  byId("filters").addEventListener("input", (event) => {
    if (event.target.id === "scale") return scaled(byId("scale").checked);
    return readFilters();
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("swap").addEventListener("click", () => filter({ given: state.suggested, suggested: state.given }));
  byId("clear").addEventListener("click", () => filter({ ...FRESH, view: state.view, scale: state.scale }));
}

function scaled(scale) {
  state.scale = scale;
  emptyList();
  showAll();
}

/** Keys outside of fields; those within belong to the field, but Escape leaves it. */
function key(event) {
  const field = event.target.closest("input, select, textarea, [role=application]");
  if (event.ctrlKey || event.altKey || event.metaKey || byId("help").open) return;
  if (field) {
    if (event.key === "Escape" || (event.key === "Enter" && field.matches("input"))) field.blur();
    return;
  }
  const action = general(event.key) ?? (state.view === "suspects" ? inList(event.key) : null);
  if (!action) return;
  event.preventDefault();
  action();
}

function general(pressed) {
  if (/^[1-5]$/.test(pressed)) return () => show(VIEWS[Number(pressed) - 1]);
  return { "?": () => byId("help").showModal(), "/": () => { show("suspects"); byId("text").focus(); byId("text").select(); } }[pressed];
}

function inList(pressed) {
  const steps = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: screenful(), PageUp: -screenful(),
    Home: -shown.length, End: shown.length };
  if (pressed in steps) return () => select(state.at + steps[pressed], { top: pressed.startsWith("Page") });
  return { c: () => cards.get(state.at)?.querySelector("footer button").click(), s: () => scaled(!state.scale),
    Escape: () => filter({ ...FRESH, scale: state.scale }) }[pressed];
}

function prepareTabs() {
  for (const view of VIEWS) byId(`tab-${view}`).addEventListener("click", () => show(view));
  document.querySelector(".tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.stopPropagation();
    show(VIEWS[(VIEWS.indexOf(state.view) + step + VIEWS.length) % VIEWS.length]);
    byId(`tab-${state.view}`).focus();
  });
}

function prepareHelp() {
  byId("keys").append(...KEYS.flatMap(([keys, words]) => [make("dt", {}, ...keys.split(" ").filter(Boolean)
    .map((one) => (one === "…" ? " … " : make("kbd", {}, one)))), make("dd", {}, words)]));
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("help-close").addEventListener("click", () => byId("help").close());
}

function prepareFoot() {
  const planned = DATA.pairsPlanned > DATA.pairs ? ` of ${DATA.pairsPlanned} planned` : "";
  const first = SUSPECTS.length < DATA.total ? ` Here are the ${count(SUSPECTS.length)} most suspicious of ${count(DATA.total)}.` : "";
  byId("foot").textContent = `Round ${DATA.round}, ${counted(DATA.pairs, "pair")}${planned} of models. Suspects have ${DATA.rule}.${first}`
    + " The suspect fills its frame. Of the typical images beside it a larger one is shown larger, by the root of its size."
    + " “True to scale” shows all images of a card at one scale.";
}

readAddress();
prepareFilters();
prepareTabs();
prepareHelp();
prepareFoot();
showAll();
performance.mark("report-shown");
document.addEventListener("keydown", key);
addEventListener("hashchange", () => {
  if (location.hash === written || (!location.hash && written === "#")) return;
  readAddress();
  showAll();
});
addEventListener("resize", () => built.get(state.view)?.());
document.addEventListener("DOMContentLoaded", fillWaiting);
