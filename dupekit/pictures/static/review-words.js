// What the page says. Plain words, short sentences: many who read them read a second language.

/** What can be true of an image, in the order in which it is listed; `colour` is the class in base.css. */
export const KINDS = {
  open: { words: "open", colour: "open" },
  right: { words: "label right", colour: "correct" },
  suggested: { words: "suggestion right", colour: "relabel" },
  moved: { words: "moved to another class", colour: "relabel" },
  expunge: { words: "thrown out", colour: "expunge" },
  unsure: { words: "unsure", colour: "unsure" },
};

/** A decision's words on its button, its key, and the kind of verdict that it makes. */
export const DECISIONS = {
  right: { words: "Label right", key: "r", kind: "right" },
  suggested: { words: "Suggestion right", key: "a", kind: "suggested" },
  class: { words: "Another class …", key: "c", kind: "moved" },
  unsure: { words: "Unsure", key: "u", kind: "unsure" },
  expunge: { words: "Throw out", key: "x", kind: "expunge" },
};

export const number = (n) => n.toLocaleString("en");
export const images = (n) => (n === 1 ? "1 image" : `${number(n)} images`);
export const decisions = (n) => (n === 1 ? "1 decision" : `${number(n)} decisions`);

/** A verdict in words, as in "moved to Diatom". */
export const verdictWords = (kind, label) => (kind === "moved" ? `moved to ${label}` : KINDS[kind].words);

export function time(seconds) {
  const minutes = Math.max(1, Math.round(seconds / 60));
  if (minutes < 90) return minutes === 1 ? "1 minute" : `${minutes} minutes`;
  return `${Math.round(minutes / 60)} hours`;
}

export const LOST = (held) =>
  "dupekit does not answer. Was it stopped? Start it again, and open the new address that it shows." +
  (held ? ` ${decisions(held)} made here ${held === 1 ? "is" : "are"} kept on this page and sent when it answers again.` : "");
export const OUT_OF_DATE = (held) =>
  "dupekit was started anew. This page is out of date: open the new address that dupekit shows." +
  (held ? ` ${decisions(held)} made here could not be saved.` : "");
export const TROUBLE = (trouble, held) =>
  trouble + (held ? ` ${decisions(held)} made here ${held === 1 ? "waits" : "wait"} on this page until then.` : "");
