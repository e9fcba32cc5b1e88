/* The report's data, and its thumbnails: lines of text, looked up when an image is to be shown. */
const DATA = JSON.parse(byId("data").textContent);
const LABELS = DATA.labels;
const CONFIRMED = new Set(DATA.confirmed);
const SUSPECTS = DATA.suspects.map(([picture, path, given, suggested, votes, score, pGiven, pSuggested, decided, besideGiven, besideSuggested, twins], rank) => ({
  rank, picture, path, given, suggested, votes, score, pGiven, pSuggested, besideGiven, besideSuggested, twins,
  verdict: decided ? decided[0] : "open", label: decided ? decided[1] : null, disputed: decided ? decided[2] : false,
}));

const blocks = [];
const waiting = new Map();

/** {width, height, uri} of a picture, or {reason}; null while the page is not read so far. */
function picture(number) {
  const at = Math.floor(number / DATA.block);
  if (!blocks[at]) {
    const element = byId(`pictures-${at}`);
    // While the page is read, the text of the last element may be there in part only.
    if (!element || (document.readyState === "loading" && !element.nextElementSibling)) return null;
    blocks[at] = element.textContent.split("\n");
  }
  const line = blocks[at][number % DATA.block];
  if (line.startsWith(" ")) return { reason: line.slice(1) };
  const [width, height, content] = line.split(" ");
  return { width: Number(width), height: Number(height), uri: `data:image/webp;base64,${content}` };
}

/** A frame that shows a picture, now or when it was read; `ready` is told of it. */
function frame(number, className, name, ready) {
  const made = make("figure", { class: `frame ${className}` });
  if (!fill(made, number, name, ready)) waiting.set(made, [number, name, ready]);
  return made;
}

function fill(made, number, name, ready) {
  const found = picture(number);
  if (!found) return false;
  if (found.reason) {
    made.append(make("span", { class: "missing" }, found.reason));
    made.title = found.reason;
  } else {
    const image = make("img", { alt: name, decoding: "async", draggable: "false" });
    image.src = found.uri;
    made.append(image);
    if (CONFIRMED.has(number)) made.append(make("span", { class: "tick", title: "confirmed by a person" }, "✓"));
    ready(made, image, found);
  }
  return true;
}

/** Shows what has been read since. */
function fillWaiting() {
  for (const [made, [number, name, ready]] of waiting) {
    if (!made.isConnected || fill(made, number, name, ready)) waiting.delete(made);
  }
}
