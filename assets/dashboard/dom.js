// Helpers to create and update DOM nodes. Text is only ever inserted as text nodes.

/**
 * Creates an element: `element('p.facts', { title: '…' }, ...children)`. After the dot comes the class attribute.
 * The attributes may be left out; `on…` functions become event listeners.
 */
export function element(selector, attributes, ...children) {
  const [tag, className] = selector.split('.');
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (attributes instanceof Node || typeof attributes === 'string') {
    node.append(attributes);
  } else {
    for (const name in attributes) {
      if (name.startsWith('on')) node.addEventListener(name.slice(2), attributes[name]);
      else setAttribute(node, name, attributes[name]);
    }
  }
  node.append(...children);
  return node;
}

function svgElement(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) setAttribute(node, name, attributes[name]);
  node.append(...children);
  return node;
}

/**
 * Creates an SVG that stretches to any width. `size` is 'width height' in user units, `paths` are the attributes of its
 * paths. Without a label it is hidden from assistive technology.
 */
export function drawing(className, size, label, ...paths) {
  const accessibility = label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true };
  return svgElement(
    'svg',
    { class: className, viewBox: '0 0 ' + size, preserveAspectRatio: 'none', ...accessibility },
    ...paths.map(path => svgElement('path', path))
  );
}

/** Sets an element's text in its existing text node: replacing the node would discard thousands of nodes a second. */
export function setText(node, text) {
  const textNode = node.firstChild;
  if (!textNode) {
    if (text) node.append(text);
  } else if (textNode.data !== text) {
    textNode.data = text;
  }
}

/** Sets an attribute; null, undefined and false remove it. */
export function setAttribute(node, name, value) {
  if (value == null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function setHidden(node, hidden) {
  if (node.hidden !== !!hidden) node.hidden = !!hidden;
}

/** Sets the text and hides the element while the text is empty. */
export function setTextOrHide(node, text) {
  setText(node, text);
  setHidden(node, !text);
}
