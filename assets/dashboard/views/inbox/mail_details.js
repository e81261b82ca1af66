// Fetches the open message with its receipts. It may be older than the mail that is loaded.

/** @import { Mail, MailWithReceipts, RequestError } from '../../types.d.ts' */

import { invalidate } from '../../store/schedule.js';
import { fetchMailDetails } from '../../sync/mail.js';

/** The receipts of an open, unread message are requested this often: no event reports them. */
const RECEIPTS_INTERVAL_MS = 3000;

/**
 * The open message as the hub returned it. `status`: that of the loaded mail when it was requested.
 * @typedef {{ id: string, row?: MailWithReceipts, isMissing?: boolean, status?: string }} Details
 */

export function MailDetails() {
  /** @type {Details | null} */
  let details = null;
  let requestedAt = 0;

  /** @param {string} id */
  async function load(id) {
    if (details?.id !== id) details = { id };
    const loading = details;
    requestedAt = Date.now();
    try {
      loading.row = await fetchMailDetails(id);
      invalidate('inbox');
    } catch (error) {
      loading.isMissing = /** @type {RequestError} */ (error).status === 404;
    }
  }

  return {
    /** Returns what the hub returned for a message. */
    of: (/** @type {string} */ id) => (details?.id === id ? details : undefined),
    /**
     * Requests the message if it is another one, if its status has changed, and from time to time while it is unread.
     * @param {string} id
     * @param {Mail | undefined} mail the message if it is loaded
     */
    refresh(id, mail) {
      const isOther = details?.id !== id;
      const hasChanged = mail && details?.status !== mail.status;
      const isOld = mail?.status === 'unread' && Date.now() - requestedAt > RECEIPTS_INTERVAL_MS;
      if (!isOther && !hasChanged && !isOld) return;
      void load(id);
      if (details) details.status = mail?.status;
    }
  };
}
