// The image, large: fitted by a whole or half factor, enlarged on wish, with a scale bar in pixels of the original.

const LADDER = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48];
const AT_MOST = 16; // by itself; larger ones are only blur
const KEPT = 16;
const NOTCH = 50; // so far a wheel turns for one step; a finger on a pad turns it little by little

/** Pictures fetched and decoded ahead of time, the oldest thrown away. */
class Store {
  #made = new Map();

  /** The picture at an address, decoded as soon as may be. */
  get(address) {
    const picture = this.#made.get(address) ?? new Image();
    this.#made.delete(address);
    this.#made.set(address, picture);
    if (!picture.src) {
      picture.src = address;
      picture.decode().catch(() => this.#made.delete(address)); // gone, or thrown away meanwhile
    }
    if (this.#made.size > KEPT) this.#made.delete(this.#made.keys().next().value);
    return picture;
  }
}

export class Picture {
  stretched = false;
  #store = new Store();
  #frame;
  #bar;
  #text;
  #image = null;
  #factor = 1;
  #fitted = true;
  #turned = 0;

  constructor(frame, bar, text) {
    this.#frame = frame;
    this.#bar = bar;
    this.#text = text;
    new ResizeObserver(() => this.#image && (this.#fitted ? this.fit() : this.#draw())).observe(frame);
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#grab(event));
  }

  address(n) {
    return `image/${n}?stretched=${this.stretched ? 1 : 0}`;
  }

  /** Gets images that will be wanted soon. */
  prepare(numbers) {
    for (const n of numbers) this.#store.get(this.address(n));
  }

  /** Shows an image of a tree whose copies are `enlarged` so many times; calls `unseen` where it cannot be shown. */
  show({ number, name }, enlarged, words, unseen) {
    const picture = this.#store.get(this.address(number));
    picture.alt = words;
    picture.title = name;
    picture.draggable = false;
    picture.dataset.number = number;
    const size = () => [picture.naturalWidth / enlarged, picture.naturalHeight / enlarged];
    this.#image = { picture, size };
    if (!picture.complete) picture.addEventListener("load", () => this.#image?.picture === picture && this.fit(), { once: true });
    picture.onerror = () => this.#image?.picture === picture && unseen();
    this.#frame.replaceChildren(picture);
    this.fit();
    if (this.broken) unseen();
  }

  /** Whether the image did not come: it was asked for while somebody moved it. */
  get broken() {
    const picture = this.#image?.picture;
    return Boolean(picture?.complete && !picture.naturalWidth);
  }

  /** By the largest whole or half factor that the space allows. */
  fit() {
    if (!this.#image) return;
    const [width, height] = this.#image.size();
    if (!width) return;
    const fits = Math.min(this.#frame.clientWidth / width, this.#frame.clientHeight / height);
    this.#factor = fits >= 0.5 ? Math.min(AT_MOST, Math.floor(fits * 2) / 2) : fits;
    this.#fitted = true;
    this.#draw();
  }

  /** One step larger (1) or smaller (-1), about a point of the frame, by itself its middle. */
  zoom(step, x = this.#frame.clientWidth / 2, y = this.#frame.clientHeight / 2) {
    if (!this.#image) return;
    const before = this.#factor;
    const steps = step > 0 ? LADDER.filter((f) => f > before + 0.001).slice(0, 1) : LADDER.filter((f) => f < before - 0.001).slice(-1);
    if (!steps.length) return;
    const frame = this.#frame;
    const { picture } = this.#image;
    const spot = [(frame.scrollLeft + x - picture.offsetLeft) / before, (frame.scrollTop + y - picture.offsetTop) / before];
    [this.#factor] = steps;
    this.#fitted = false;
    this.#draw();
    frame.scrollLeft = spot[0] * this.#factor + picture.offsetLeft - x;
    frame.scrollTop = spot[1] * this.#factor + picture.offsetTop - y;
  }

  #draw() {
    const { picture, size } = this.#image;
    const [width, height] = size();
    picture.style.width = `${width * this.#factor}px`;
    picture.style.height = `${height * this.#factor}px`;
    const length = niceLength(this.#frame.clientWidth * 0.22 / this.#factor);
    this.#bar.style.width = `${length * this.#factor}px`;
    const times = this.#factor < 1 ? this.#factor.toFixed(2) : String(this.#factor);
    this.#text.textContent = `${length} px · ${times}×`;
  }

  #wheel(event) {
    if (event.ctrlKey || event.metaKey) return; // the browser's own zoom
    event.preventDefault();
    this.#turned = Math.sign(event.deltaY) === Math.sign(this.#turned) ? this.#turned + event.deltaY : event.deltaY;
    if (Math.abs(this.#turned) < NOTCH && event.deltaMode === WheelEvent.DOM_DELTA_PIXEL) return;
    this.#turned = 0;
    const place = this.#frame.getBoundingClientRect();
    this.zoom(event.deltaY < 0 ? 1 : -1, event.clientX - place.left, event.clientY - place.top);
  }

  /** Drags what does not fit. */
  #grab(event) {
    if (event.button !== 0 || event.pointerType === "touch") return;
    event.preventDefault();
    const frame = this.#frame;
    const from = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop];
    const move = (next) => frame.scrollTo(from[0] - next.clientX, from[1] - next.clientY);
    frame.setPointerCapture(event.pointerId);
    frame.addEventListener("pointermove", move);
    frame.addEventListener("lostpointercapture", () => frame.removeEventListener("pointermove", move), { once: true });
  }
}

/** The largest of 1, 2, 5, 10, 20 ... that is no longer than `most`, at least 1. */
function niceLength(most) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return Math.max(1, ten * ([5, 2, 1].find((n) => n * ten <= most) ?? 1));
}
