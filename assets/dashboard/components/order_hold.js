// While the person points at a list or uses its keys, its order is held: an item must not move away under the pointer.

const HELD_MS = 2500;

/**
 * Returns a function that returns for how many milliseconds the order is still held: 2.5 s from the last movement of the
 * pointer, click or key in `root`. 0 if it is not.
 * @param {HTMLElement} root
 */
export function OrderHold(root) {
  let lastInput = -Infinity;
  const noteInput = () => {
    lastInput = performance.now();
  };
  for (const type of ['pointermove', 'pointerdown', 'keydown']) root.addEventListener(type, noteInput);
  return () => Math.max(0, lastInput + HELD_MS - performance.now());
}
