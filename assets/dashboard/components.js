// The components the views are made of: initials, status tags, times, commands to copy, empty
// states, two-line rows, split panes, form fields. Each is created once and updated often.

import { element, setText, setAttribute, setHidden, setTextOrHide, drawing } from './dom.js';
import { ListView } from './list_view.js';
import { state, invalidate } from './store.js';
import { formatAge, formatDateTimeOrEmpty } from './format.js';
import { safeText } from './safe_text.js';
import { initialsOfAuthor } from './authors.js';

// ---- authors (authors.js) ----

export const Initials = () => element('span.initials', { 'aria-hidden': 'true' });
export function setInitials(node, author) {
  setText(node, initialsOfAuthor(author));
  setAttribute(node, 'data-mark', author.mark);
}

/** Shows an author's name, with a note as its tooltip. */
export function setAuthor(node, { label, mark, note }) {
  setText(node, label);
  setAttribute(node, 'title', note || null);
  setAttribute(node, 'data-mark', mark);
}

/** A bar chart of 60 numbers, drawn as one path. */
export function Sparkline() {
  const root = drawing('sparkline', '60 20', '', {});
  root.set = samples => {
    const scale = 19 / Math.max(4, ...samples);
    const bars = samples.map((count, i) => (count ? `M${i + 0.5} 20v-${Math.max(1.5, count * scale).toFixed(1)}` : ''));
    setAttribute(root.firstChild, 'd', bars.join('') || 'M0 20');
  };
  return root;
}

// ---- status tags: a sign, a word and a colour; unknown words are shown as they are ----

const TAG_STYLES = {};
for (const [tone, sign, words] of [
  ['run', '●', 'running working'],
  ['ok', '✓', 'arrived completed resolved result response completion'],
  ['bad', '▲', 'error failed urgent'],
  ['accent', '↗', 'directive'],
  ['warn', '◆', 'paused waiting question mail action approval_request request'],
  ['info', '◇', 'proposal feedback handoff']
]) {
  for (const word of words.split(' ')) TAG_STYLES[word] = { tone, sign };
}

export const setTone = (node, word) => setAttribute(node, 'data-tone', TAG_STYLES[word]?.tone || 'none');

export const Tag = () => element('span.tag');
export function setTag(node, newWord) {
  const word = newWord || '';
  if (node.word === word) return;
  node.word = word;
  setTextOrHide(node, safeText(word, 40).replace(/_/g, ' '));
  setTone(node, word);
  setAttribute(node, 'data-sign', TAG_STYLES[word]?.sign || '○');
}

/** Returns the priority or type of mail that is more than a notification. */
export function mailTag(mail) {
  if (mail.priority && mail.priority !== 'info') return mail.priority;
  return mail.message_type === 'notification' ? '' : mail.message_type;
}

export function setTime(node, ms) {
  setText(node, formatAge(ms));
  if (node.ms === ms) return;
  node.ms = ms;
  node.dateTime = ms ? new Date(ms).toISOString() : '';
  node.title = formatDateTimeOrEmpty(ms);
}

// ---- buttons and commands ----

export const button = (label, onclick, selector = 'button') => element(selector, { type: 'button', onclick }, label);

/** Copies the text and shows the result on the button. */
export async function copyToClipboard(copyButton, text) {
  const label = copyButton.textContent;
  try {
    await navigator.clipboard.writeText(text);
    setText(copyButton, 'Copied');
  } catch {
    setText(copyButton, 'Copy failed');
  }
  setTimeout(() => setText(copyButton, label), 1500);
}

/** A shell command with a description and a button that copies it. */
export function Command({ about, command }) {
  const code = element('code', command);
  const copyButton = button('Copy', () => {
    getSelection().selectAllChildren(code);
    copyToClipboard(copyButton, command);
  });
  setAttribute(copyButton, 'aria-label', 'Copy: ' + command);
  return element('div.command', element('p', about), element('div.command-line', code, copyButton));
}

/** Fills `node` with the named commands of the hub, unless it already shows them. */
export function showCommands(node, names, create) {
  if (node.commands === state.commands) return;
  node.commands = state.commands;
  node.replaceChildren(...names.map(name => create(state.commands.get(name))));
}

/** Shown by a view without data: a text, and commands that write some rows. */
export function EmptyState(title, text, ...commandNames) {
  const commands = element('div');
  const root = element(
    'section.empty',
    element('h2', title),
    element('p', text),
    commands,
    element('p.waiting', 'Waiting for the first row…')
  );
  root.show = visible => {
    setHidden(root, !visible);
    if (visible) showCommands(commands, commandNames, Command);
  };
  return root;
}

// ---- rows ----

/** A link on one or two lines: initials, title, tag, snippet, time. */
export const Item = (selector = 'a.item') =>
  element(selector, Initials(), element('b'), Tag(), element('span.snippet'), element('time'));

export function setItem(node, { href, author, title, tag, snippet, time }) {
  const [initials, titleNode, tagNode, snippetNode, timeNode] = node.children;
  setAttribute(node, 'href', href);
  setInitials(initials, author);
  setAttribute(node, 'title', author.note || null);
  setText(titleNode, title);
  setTag(tagNode, tag);
  setText(snippetNode, snippet);
  setTime(timeNode, time);
}

/** A list of items on two lines; `describe(item)` returns what setItem takes, and `isNew`. */
export const TwoLineList = ({ label, keyOf, describe, onNearEnd }) =>
  new ListView({
    label,
    keyOf,
    onNearEnd,
    rowHeight: 58,
    createRow: () => Item('a.two-line'),
    fillRow(link, item) {
      const description = describe(item);
      setItem(link, description);
      setAttribute(link, 'data-new', !!description.isNew);
    }
  });

/** Shows `items` as children of a <ul>: elements are created as needed, reused, and hidden when there are too many. */
export function updateChildren(list, items, create, update) {
  items.forEach((item, i) => {
    const node = list.children[i]?.firstChild || list.appendChild(element('li', create())).firstChild;
    update(node, item);
  });
  [...list.children].forEach((listItem, i) => setHidden(listItem, i >= items.length));
}

/** A row of links to choose from; `nav.set([{ label, href, isCurrent, count? }])`. */
export function Chips(label) {
  const list = element('ul');
  const nav = element('nav.chips', { 'aria-label': label }, list);
  const create = () => element('a', element('span'), element('b.count'));
  nav.set = chips =>
    updateChildren(list, chips, create, (link, { label, href, isCurrent, count }) => {
      setAttribute(link, 'href', href);
      setAttribute(link, 'aria-current', isCurrent);
      setText(link.firstChild, label);
      setText(link.lastChild, String(count || ''));
      setHidden(link.lastChild, !count);
    });
  return nav;
}

/** Two panes side by side on a wide screen, one at a time on a narrow one. */
export const SplitView = (className, listPane, detailPane) =>
  element('div.split ' + className, element('section.side', ...listPane), element('section.detail', ...detailPane));

// ---- dialogs, downloads, forms ----

/** A modal dialog that a click outside closes. */
export function Dialog(className, label, ...children) {
  const dialog = element('dialog.' + className, { 'aria-label': label }, ...children);
  dialog.onclick = event => event.target === dialog && dialog.close();
  document.body.append(dialog);
  return dialog;
}

export function download(fileName, content) {
  const link = element('a', { href: URL.createObjectURL(new Blob([content])), download: fileName });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/**
 * Runs `submit` on submit and on Ctrl+Enter. If it throws, the alert says "Couldn't <verb>: <reason>" and the input stays.
 * Returns a function that runs another action of the form the same way.
 */
export function handleSubmit({ form, submitButton, alert, verb, submit }) {
  const run = async (action, actionVerb = verb) => {
    if (submitButton.disabled) return;
    submitButton.disabled = true;
    setText(alert, '');
    try {
      await action();
    } catch (error) {
      setText(alert, `Couldn’t ${actionVerb}: ${error.message}`);
    }
    submitButton.disabled = false;
    invalidate('all');
  };
  form.onsubmit = event => {
    event.preventDefault();
    run(submit);
  };
  form.onkeydown = event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  };
  return run;
}

let fieldCount = 0;
export function Field(label, input) {
  input.id = 'field-' + ++fieldCount;
  return element('div.field', element('label', { for: input.id }, label), input);
}

export const Select = options => element('select', ...options.map(option => element('option', option)));
