// What the store requests from the hub, because events do not carry it. The store does not know the network: sync/refresh.js
// provides the functions.

/** @import { Refresh } from '../types.d.ts' */

const ignore = () => {};

/** @type {Refresh} */
export const refresh = {
  status: ignore,
  agents: ignore,
  repositories: ignore,
  telemetry: ignore,
  mailboxes: ignore,
  tasks: ignore,
  totals: ignore,
  costs: ignore,
  wake: ignore,
  timeline: ignore
};
