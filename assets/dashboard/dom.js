// Helpers to create and update DOM nodes. Text is only ever inserted as text nodes.

/** @import { Attributes, ElementOf } from './types.d.ts' */

/**
 * Creates an element: `element('p.facts', { title: '…' }, ...children)`. After the dot comes the class attribute.
 * The attributes may be left out; `on…` functions become event listeners.
 * @template {string} S
 * @param {S} selector
 * @param {Attributes | Node | string} [attributes]
 * @param {(Node | string)[]} children
 * @returns {ElementOf<S>}
 */
export function element(selector, attributes, ...children) {
  const [tag, className] = selector.split('.');
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (attributes instanceof Node || typeof attributes === 'string') {
    node.append(attributes);
  } else {
    for (const name in attributes) {
      const value = attributes[name];
      if (name.startsWith('on')) node.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
      else setAttribute(node, name, value);
    }
  }
  node.append(...children);
  return /** @type {ElementOf<S>} */ (node);
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} attributes
 * @param {Node[]} children
 */
function svgElement(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) setAttribute(node, name, attributes[name]);
  node.append(...children);
  return node;
}

/**
 * Creates an SVG that stretches to any width.
 * @param {string} className
 * @param {string} size 'width height' in user units
 * @param {string} label without one, it is hidden from assistive technology
 * @param {SVGPathElement[]} paths
 */
export function drawing(className, size, label, ...paths) {
  const accessibility = label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true };
  return svgElement(
    'svg',
    { class: className, viewBox: '0 0 ' + size, preserveAspectRatio: 'none', ...accessibility },
    ...paths
  );
}

/**
 * Creates a path of a drawing.
 * @param {Record<string, unknown>} attributes
 */
export const drawnPath = (attributes = {}) => svgElement('path', attributes);

/**
 * Sets an element's text in its existing text node: replacing the node would discard thousands of nodes a second.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  const textNode = /** @type {Text | null} */ (node.firstChild);
  if (!textNode) {
    if (text) node.append(text);
  } else if (textNode.data !== text) {
    textNode.data = text;
  }
}

/**
 * Sets an attribute; null, undefined and false remove it.
 * @param {Element} node
 * @param {string} name
 * @param {unknown} value
 */
export function setAttribute(node, name, value) {
  if (value == null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/**
 * @param {HTMLElement} node
 * @param {boolean} hidden
 */
export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/**
 * Sets the text and hides the element while the text is empty.
 * @param {HTMLElement} node
 * @param {string} text
 */
export function setTextOrHide(node, text) {
  setText(node, text);
  setHidden(node, !text);
}

/**
 * Saves a file in the browser's folder for downloads.
 * @param {string} fileName
 * @param {string} content
 */
export function download(fileName, content) {
  const link = element('a', { href: URL.createObjectURL(new Blob([content])), download: fileName });
  link.click();
  // The browser reads the content after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
