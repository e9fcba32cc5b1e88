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

/** Ways to group the images of the grid. `name`: of a group; `under`: what stands under each image, where they differ. */
export const GROUPINGS = {
  pair: { words: "Pair", title: "Images that are in one class now and got one suggestion", list: "Pairs of classes", one: "Pair of classes",
    name: ({ given, suggested }) => `${given} → ${suggested}` },
  suggested: { words: "Models say", title: "All that the models say are one class", list: "Classes that the models say", one: "Class that the models say",
    name: ({ suggested }) => `the models say ${suggested}`, under: "Under each image: what it is called now" },
  given: { words: "Now in", title: "All that are in one class now", list: "Classes that images are in now", one: "Class that images are in now",
    name: ({ given }) => `now in ${given}`, under: "Under each image: what the models say" },
};

/** What a decision means for images that differ in it. */
export const EACH = {
  right: { words: "each is what it is called now", short: "as each is called now" },
  suggested: { words: "each is what the models say", short: "as the models say" },
};

export const number = (n) => n.toLocaleString("en");
export const images = (n) => (n === 1 ? "1 image" : `${number(n)} images`);
export const decisions = (n) => (n === 1 ? "1 decision" : `${number(n)} decisions`);

/** A verdict in words, as in "moved to Diatom". */
export const verdictWords = (kind, label) => (kind === "moved" ? `moved to ${label}` : KINDS[kind].words);

export const UNSEEN = "This image cannot be shown. It may be damaged.";

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
