// Builds elements. Text only ever becomes a text node, so markup in names and messages stays text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element: `el("a", {href: "#/queues", class: "name"}, "Queues")`.
 * Properties that begin with `on` are listeners; `true` sets an empty attribute; `false` and `null` set none.
 */
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** Flattens children and leaves out those that a condition made empty. */
function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Replaces all children. */
export function show(parent, ...children) {
  parent.replaceChildren(...nodes(children));
}

/** A number that no other element of the page has, for `id` and `for`. */
let ids = 0;
export const freshId = () => `id${++ids}`;
