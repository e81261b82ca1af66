// One message of a thread.

/** @import { Message, TimelineRow } from '../../types.d.ts' */

import { element, setText, setHidden, setAttribute } from '../../dom.js';
import { AuthorName, Initials, Tag } from '../../components/labels.js';
import { RenderedText } from '../../components/rendered_text.js';
import { authorOf, displayName } from '../../authors.js';
import { formatDateTimeOrEmpty, formatTime } from '../../format.js';
import { routeToRow } from '../../routes.js';
import { safeText } from '../../safe_text.js';

/** Messages of one sender closer together than this share one header. */
const SAME_GROUP_MS = 120000;

/**
 * Returns whether a message has the header of the message before it.
 * @param {Message} message
 * @param {Message | undefined} previous
 */
const continuesGroup = (message, previous) =>
  !!previous &&
  previous.from_id === message.from_id &&
  authorOf(previous).label === authorOf(message).label &&
  previous.kind === message.kind &&
  previous.to_id === message.to_id &&
  !message.subject &&
  message.created_at - previous.created_at < SAME_GROUP_MS;

/** @param {Message} message */
function recipientLabel(message) {
  if (message.to_id) return '→ ' + displayName(message.to_id);
  return message.to_type === 'broadcast' ? '→ everyone' : '';
}

export function MessageRow() {
  const number = element('a.gutter');
  const initials = Initials();
  const sender = AuthorName();
  const recipient = element('span.recipient');
  const tag = Tag();
  const time = element('time');
  const header = element('p.message-header', sender.root, recipient, tag.root, time);
  const subject = element('strong');
  const text = RenderedText('div.text');
  const root = element(
    'div.message',
    number,
    initials.root,
    element('div.message-content', header, subject, text.root)
  );
  return {
    root,
    /**
     * @param {TimelineRow<Message>} row
     * @param {TimelineRow<Message> | undefined} previousRow
     */
    set({ event: message }, previousRow) {
      const isContinued = continuesGroup(message, previousRow?.event);
      const author = authorOf(message);
      setAttribute(root, 'data-joined', isContinued);
      setHidden(header, isContinued);
      setHidden(subject, !message.subject);
      setText(number, String(message.message_seq));
      setAttribute(number, 'href', routeToRow(message));
      initials.set(author);
      sender.set(author);
      setText(recipient, recipientLabel(message));
      tag.set(message.kind === 'status' ? '' : message.kind);
      setText(time, formatTime(message.created_at));
      time.title = formatDateTimeOrEmpty(message.created_at);
      setText(subject, safeText(message.subject, 300));
      if (message.deleted_at) text.setPlain('This message was deleted.');
      else text.set({ kind: 'message', id: message.id, field: 'content', text: message.content || '' });
    }
  };
}
