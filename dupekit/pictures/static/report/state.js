/* What is shown: filters, view and place, kept in the address so that a view can be sent to a colleague. */
const VIEWS = ["suspects", "confusion", "classes", "review", "about"];
const VERDICTS = {
  "": "any", open: "open", decided: "decided", correct: "label right", accepted: "suggestion right", moved: "moved elsewhere",
  expunge: "thrown out", unsure: "unsure",
};
const FRESH = { view: "suspects", given: "", suggested: "", low: null, high: null, verdict: "", text: "", scale: false, at: 0 };

const state = { ...FRESH };
let shown = [];
let written = null;

/** What a verdict is called, with the label where it is another than suggested. */
function verdictWords(one) {
  if (one.verdict === "relabel") return one.label === LABELS[one.suggested] ? "suggestion right" : `moved to ${one.label}`;
  const words = { correct: "label right", expunge: "thrown out", unsure: one.disputed ? "disputed" : "unsure", open: "open" };
  return words[one.verdict];
}

function hasVerdict(one, wanted) {
  const accepted = one.verdict === "relabel" && one.label === LABELS[one.suggested];
  switch (wanted) {
    case "": return true;
    case "decided": return one.verdict !== "open" && one.verdict !== "unsure";
    case "accepted": return accepted;
    case "moved": return one.verdict === "relabel" && !accepted;
    default: return one.verdict === wanted;
  }
}

/** Which labels a text means: the one of this name, else all that hold it; null for any. */
function labelsOf(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const exact = LABELS.indexOf(text.trim());
  if (exact >= 0) return new Set([exact]);
  return new Set(LABELS.map((_, at) => at).filter((at) => LABELS[at].toLowerCase().includes(wanted)));
}

function filtered() {
  const given = labelsOf(state.given), suggested = labelsOf(state.suggested);
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  return SUSPECTS.filter((one) => (!given || given.has(one.given)) && (!suggested || suggested.has(one.suggested))
    && (state.low === null || one.votes >= state.low) && (state.high === null || one.votes <= state.high)
    && hasVerdict(one, state.verdict) && words.every((word) => haystack(one).includes(word)));
}

function haystack(one) {
  return `${one.path} ${LABELS[one.given]} ${LABELS[one.suggested]} ${one.label ?? ""}`.toLowerCase();
}

function readAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (/^\d+$/.test(found.get(name) ?? "") ? Number(found.get(name)) : null);
  Object.assign(state, FRESH, {
    view: VIEWS.includes(found.get("view")) ? found.get("view") : FRESH.view,
    given: found.get("given") ?? "", suggested: found.get("suggested") ?? "", text: found.get("text") ?? "",
    low: number("low"), high: number("high"), verdict: Object.hasOwn(VERDICTS, found.get("verdict")) ? found.get("verdict") : "",
    scale: found.get("scale") === "1", at: Math.max((number("at") ?? 1) - 1, 0),
  });
}

/** Writes what differs from a fresh report into the address; no step for the browser's way back. */
function writeAddress() {
  const parameters = new URLSearchParams();
  for (const name of ["view", "given", "suggested", "low", "high", "verdict", "text"]) {
    if (state[name] !== FRESH[name]) parameters.set(name, state[name]);
  }
  if (state.scale) parameters.set("scale", "1");
  if (state.at) parameters.set("at", state.at + 1);
  const hash = `#${parameters}`;
  if (hash === written || (hash === "#" && !location.hash)) return;
  written = hash;
  location.replace(hash);
}
