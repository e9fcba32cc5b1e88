// Small pictures to compare with: typical images of a class, and look-alikes.

import { element, named } from "./review-dom.js";

const warm = new Map();

const address = (id) => `reference/${id}`;

/** Gets thumbnails that will be wanted soon. */
export function prepareThumbs(ids) {
  for (const id of ids) {
    if (warm.has(id)) continue;
    const picture = new Image();
    picture.src = address(id);
    warm.set(id, picture);
    if (warm.size > 600) warm.delete(warm.keys().next().value);
  }
}

/** One thumbnail; `label` writes what it is called below it. */
export function thumb(review, id, { label = false } = {}) {
  const { label: called, confirmed, width, height } = review.references.thumbnails[id];
  const words = `${called}${confirmed ? ", confirmed" : ""}, ${width} × ${height} pixels`;
  const picture = element("img", { src: address(id), alt: words, title: words, draggable: false });
  return element("figure", { className: "thumb" }, picture, ...(label ? [named(called, "figcaption")] : []));
}

export const thumbs = (review, ids, options) => ids.map((id) => thumb(review, id, options));
