// The keys: what each is called, where it works, and which key an event means.

/** `where`: in both ways of working, or in one; `hint`: in the line at the bottom; `act` names what the page does. */
export const KEYS = [
  { keys: ["r"], words: "the label is right", act: "right" },
  { keys: ["a"], words: "accept the suggestion", act: "suggested" },
  { keys: ["c"], words: "another class: type its name", act: "class" },
  { keys: ["1", "2", "3", "4", "5"], show: "1 … 5", words: "one of the classes chosen last", act: "recent" },
  { keys: ["u"], words: "unsure", act: "unsure" },
  { keys: ["x"], words: "throw out: a bad image", act: "expunge" },
  { keys: ["z", "Ctrl+z"], show: "z", words: "take back, as often as you like", act: "undo" },
  { keys: ["n"], words: "next open", act: "open" },
  { keys: ["g"], words: "grid, or one by one", hint: "grid or one by one", act: "mode" },
  { keys: ["ArrowLeft"], show: "←", words: "the image before", where: "one", hint: "back", act: "before" },
  { keys: ["ArrowRight"], show: "→", words: "the next image", where: "one", hint: "on", act: "after" },
  { keys: ["s"], words: "stronger contrast, on and off", where: "one", hint: "contrast", act: "stretch" },
  { keys: ["+", "="], show: "+", words: "larger (also the mouse wheel)", act: "larger" },
  { keys: ["-"], words: "smaller", act: "smaller" },
  { keys: ["0"], words: "fit again", where: "one", act: "fit" },
  { keys: ["PageDown"], show: "Page down", words: "next page; one by one: ten on", act: "pageAfter" },
  { keys: ["PageUp"], show: "Page up", words: "page before; one by one: ten back", act: "pageBefore" },
  { keys: ["b"], words: "group by pair of classes, by what the models say, or by what they are called now", where: "grid", hint: "group by", act: "groupBy" },
  { keys: ["]"], words: "next group", where: "grid", hint: "next group", act: "groupAfter" },
  { keys: ["["], words: "group before", where: "grid", hint: "group before", act: "groupBefore" },
  { keys: ["Ctrl+a"], show: "Ctrl+A", words: "choose the whole page", where: "grid", act: "all" },
  { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], show: "← → ↑ ↓", words: "go from image to image", where: "grid", act: "walk" },
  { keys: [" "], show: "Space", words: "choose the image, or leave it out", where: "grid", act: "toggle" },
  { keys: ["Enter"], words: "say yes where the page asks; else show the image large", where: "grid", act: "enter" },
  { keys: ["Escape"], show: "Esc", words: "choose nothing", where: "grid", act: "clear" },
  { keys: ["?"], words: "these keys", act: "help" },
];

/** Decisions are one press each: a key held down must not decide on many. */
const ONCE = new Set(["right", "suggested", "class", "recent", "unsure", "expunge", "enter", "toggle"]);

/** The key an event means, whatever the keyboard's script; null where it is the browser's. */
export function keyOf(event) {
  const { key, code } = event;
  if (event.isComposing || key === "Dead") return null;
  if (event.altKey) return key === "[" || key === "]" ? key : null; // on some keyboards these need AltGr
  const letter = key.length === 1 && key > "~" && /^Key[A-Z]$/.test(code) ? code[3] : key;
  const small = letter.length === 1 ? letter.toLowerCase() : letter;
  if (!event.ctrlKey && !event.metaKey) return small;
  return !event.shiftKey && "za".includes(small) ? `Ctrl+${small}` : null;
}

/** What an event asks for in a way of working: an entry of KEYS, or undefined. */
export function actOf(event, mode) {
  const key = keyOf(event);
  if (key === null) return undefined;
  const found = KEYS.find((entry) => (entry.where ?? mode) === mode && entry.keys.includes(key));
  return found && !(event.repeat && ONCE.has(found.act)) ? found : undefined;
}

/** Whether the keys belong to what has the focus: a field in which one types, or a button that is pressed. */
export function isElsewhere(event) {
  if (document.querySelector("dialog[open]")) return true;
  const { target } = event;
  if (target.closest?.("input, select, textarea, [contenteditable]")) return true;
  return (event.key === "Enter" || event.key === " ") && Boolean(target.closest?.("button, a"));
}
