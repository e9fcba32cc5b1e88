// Which classes a text means: names that begin so, then with a word that begins so, then that contain it, then its letters in order.

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function rank(wanted, name) {
  const at = name.indexOf(wanted);
  if (at === 0) return 0;
  if (at > 0) return wordBegins(wanted, name) ? 1 : 2;
  return lettersInOrder(wanted.replace(/[\s_-]/g, ""), name);
}

function wordBegins(wanted, name) {
  for (let at = name.indexOf(wanted); at >= 0; at = name.indexOf(wanted, at + 1)) {
    if (at === 0 || /[^\p{L}\p{N}]/u.test(name[at - 1])) return true;
  }
  return false;
}

/** From 3 on, more the farther the letters lie apart from a word's beginning on; null where they do not occur so. */
function lettersInOrder(wanted, name) {
  let least = null;
  for (const { index: first } of name.matchAll(/[\p{L}\p{N}]+/gu)) {
    let at = first - 1;
    const found = name[first] === wanted[0] && [...wanted].every((letter) => (at = name.indexOf(letter, at + 1)) >= 0);
    if (found && (least === null || at - first < least)) least = at - first;
  }
  return least === null ? null : 3 + least / 1000;
}

/** The classes that a text can mean, the likeliest first; all in their order where there is no text. */
export function matching(text, classes) {
  const wanted = fold(text.trim());
  if (!wanted) return [...classes];
  return classes
    .map((label, i) => ({ label, i, rank: rank(wanted, fold(label)) }))
    .filter((found) => found.rank !== null)
    .sort((a, b) => a.rank - b.rank || a.i - b.i)
    .map((found) => found.label);
}

/** The class that a text names, whatever its case; undefined where there is none. */
export const same = (text, classes) =>
  classes.find((label) => label === text.trim()) ?? classes.find((label) => fold(label) === fold(text.trim()));
