// A request on Now: mail, or a question in a thread, that waits for the person's reply.

/** @import { AgentSummary, RenderedSource, Request } from '../../types.d.ts' */

import { element, setHidden, setText, setTextOrHide, setAttribute } from '../../dom.js';
import { isUnfinished } from '../../store/tasks.js';
import { mailTag } from '../../components/labels.js';
import { Item } from '../../components/lists.js';
import { RenderedText } from '../../components/rendered_text.js';
import { ReplyForm } from '../../components/reply_form.js';
import { authorOf } from '../../authors.js';
import { formatWait } from '../../format.js';
import { routeTo, routeToRow } from '../../routes.js';
import { oneLine } from '../../safe_text.js';
import { taskTitle } from '../../steps.js';

/** What the sender of a request works on, and how long the request waits. */
function BlockedTask() {
  const link = element('a');
  const wait = element('span');
  const root = element('p.blocked-task', 'Blocks ', link, wait);
  return {
    root,
    /**
     * @param {AgentSummary | undefined} sender
     * @param {number} since
     */
    set(sender, since) {
      const task = isUnfinished(sender?.task) ? sender?.task : undefined;
      setHidden(root, !task);
      if (!task) return;
      setText(link, taskTitle(task));
      setAttribute(link, 'href', routeTo('tasks', task.task_id));
      setText(wait, ' · waits ' + formatWait(since));
    }
  };
}

/**
 * @param {Request} mail
 * @returns {RenderedSource}
 */
const bodySource = ({ id, message_seq, payload = '' }) =>
  message_seq
    ? { kind: 'message', id, field: 'content', text: payload }
    : { kind: 'inbox', id, field: 'payload', text: payload };

export function RequestCard() {
  const header = Item();
  const body = RenderedText('div.text');
  const outcome = element('p.text secondary', { hidden: true });
  const blockedTask = BlockedTask();
  const replyForm = ReplyForm();
  const root = element('article.request', header.root, body.root, blockedTask.root, outcome, replyForm.root);
  return {
    root,
    replyForm,
    focus: () => header.root.focus(),
    /** The request is pending: it can be replied to. */
    isOpen: () => !replyForm.root.hidden,
    /**
     * @param {Request} mail
     * @param {AgentSummary | undefined} sender
     */
    set(mail, sender) {
      const author = authorOf(mail);
      header.set({
        href: routeToRow(mail),
        author,
        title: author.label,
        tag: mailTag(mail),
        snippet: oneLine(mail.title || mail.payload),
        time: mail.created_at
      });
      const text = oneLine(mail.payload, 600);
      setHidden(body.root, !text || text === oneLine(mail.title, 600));
      body.set(bodySource(mail));
      blockedTask.set(sender, mail.created_at);
      replyForm.set(mail);
      // It may be pending again.
      setHidden(replyForm.root, false);
      setHidden(outcome, true);
    },
    /** Shows that the request is no longer pending: without buttons. */
    close() {
      setHidden(replyForm.root, true);
      setTextOrHide(outcome, replyForm.outcome() || 'No longer pending.');
    }
  };
}
