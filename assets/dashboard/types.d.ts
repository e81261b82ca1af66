// The types that the modules name in their JSDoc comments. `tests/run --only modules` checks them; the page does not load
// this file. Rows come from the hub as PROTOCOL.md and assets/schema.sql describe them: columns that are empty are left
// out, words such as `status` may be unknown ones, and all times are Unix milliseconds.

// ---- rows of the wire protocol ----

/** A message in a thread. */
export interface Message {
  id: string;
  thread_id: string;
  /** 1, 2, 3 … in its thread. */
  message_seq: number;
  created_at: number;
  from_id: string;
  from_type?: string;
  to_id?: string;
  to_type?: string;
  kind?: string;
  subject?: string;
  content?: string;
  deleted_at?: number;
  /** The person wrote the row: its proof is valid. */
  verified?: boolean;
}

export interface ThreadRow {
  id: string;
  title?: string;
  status?: string;
  last_seq?: number;
  created_at?: number;
  /** In events of the compatible form an ISO 8601 date. */
  updated_at?: number | string;
}

/** An inbox message. */
export interface Mail {
  id: string;
  message_id: string;
  correlation_id?: string;
  from_agent: string;
  to_inbox: string;
  message_type?: string;
  title?: string;
  payload?: string;
  priority?: string;
  status: string;
  created_at: number;
  read_at?: number;
  expires_at?: number;
  claimed_by?: string;
  claim_expires_at?: number;
  verified?: boolean;
}

export interface Receipt {
  reader: string;
  /** offered, seen, acked or archived. */
  state: string;
  via?: string;
  created_at: number;
}

export type MailWithReceipts = Mail & { receipts: Receipt[] };

export interface Agent {
  id: string;
  last_active_at: number;
  created_at?: number;
  label?: string;
  /** idle, running, error or gone. */
  status?: string;
  workspace?: string;
}

/** The Git repository of a working directory. */
export interface Repository {
  name: string;
  root: string;
  /** Left out for the main one. */
  worktree?: string;
  branch?: string;
  /** Set if no branch is checked out. */
  commit?: string;
}
export type WorkspaceRepository = Repository & { workspace: string };

/** A session of an agent tool. */
export interface AgentSession {
  id: string;
  task_id: string;
  /** The name of the tool; empty if it is not known. */
  tool: string;
  started_at: number | null;
  last_event_at: number;
  /** Null while it is open. */
  ended_at: number | null;
  permission_mode: string;
}

/** One agent with its last sessions. */
export type AgentDetails = Agent & { repository: Repository | null; sessions: AgentSession[] };

/** A file that a task has edited. */
export interface EditedFile {
  path: string;
  edits: number;
  last_at: number;
}

/** The running totals of one run of an agent. */
export interface TelemetryRow {
  instance_id: string;
  agent_id?: string;
  status?: string;
  model?: string;
  turns?: number;
  tokens_in?: number;
  tokens_out?: number;
  cost?: number;
  created_at: number;
}

/** A step of a task. */
export interface TaskEvent {
  id: number;
  task_id: string;
  stream_type: string;
  created_at: number;
  turn_num?: number;
  text?: string;
  tool_name?: string;
  tool_input?: string;
  tool_output?: string;
  error_msg?: string;
  status?: string;
  tokens_in?: number;
  tokens_out?: number;
  cost?: number;
  workspace?: string;
  directive?: string;
  agent_id?: string;
  call_id?: string;
  parent_call_id?: string;
  model?: string;
}

/** A task, as the hub or the page sums up its events. */
export interface Task {
  task_id: string;
  agent_id: string;
  workspace: string;
  directive: string;
  status: string;
  model: string;
  turns: number;
  tokens_in: number;
  tokens_out: number;
  cost: number;
  errors: number;
  started_at: number;
  updated_at: number;
  last_type: string;
  last_id: number;
}

/** An event of the WebSocket that comes from a row. Events of other types are ignored. */
export type HubEvent = { timestamp: number; pos?: string } & (
  | { type: 'message'; data: Message }
  | { type: 'batch'; data: { thread_id: string; messages: Message[] } }
  | { type: 'thread_state'; data: Omit<ThreadRow, 'id'> & { thread_id: string } }
  | { type: 'inbox_message'; data: Mail }
  | { type: 'telemetry'; data: TelemetryRow }
  | { type: 'task_stream'; data: TaskEvent }
);

/** An `error` event of the WebSocket. */
export interface HubError {
  code: string;
  message?: string;
  temporary?: boolean;
  /** Set if the error belongs to a subscription. */
  thread_id?: string;
}

// ---- responses of the HTTP API ----

/** A page of a list. `next` is the position of the next page, or null at the end. */
export interface Page<T> {
  items: T[];
  next?: number | string | null;
}

/** Values of a request's query; those that are null or empty are left out. */
export type Query = Record<string, string | number | null | undefined>;

export interface InboxRow {
  inbox: string;
  unread: number;
  /** Number of messages that are not deleted. */
  total: number;
}

export interface RejectedRow {
  table: string;
  row: number;
  reason: string;
  at: number;
}

/** The hub's and the database's status; the page shows the other fields as they are. */
export interface Status {
  epoch: string;
  /** 'ok', or the code of a problem. */
  state: string;
  trouble: { message: string } | null;
  rejected: RejectedRow[];
  db: object;
  watcher: object;
  limits: object;
  pos: string;
  [field: string]: unknown;
}

/** Exact numbers of all rows: the page has only the newest. */
export interface Totals {
  threads: number;
  tasks: Record<TaskTotal, number>;
  /** The person's unread mail. */
  unread: number;
}
export type TaskTotal = 'total' | 'running' | 'waiting' | 'completed' | 'failed' | 'completed_since';

/** Whether mail wakes an agent with an open session. */
export interface WakeableAgent {
  agent: string;
  mode: string;
  can_be_woken: boolean;
  woken_in_last_hour: number;
  /** A word for why mail does not wake the agent now; empty if it does. */
  obstacle: string;
  /** The obstacle as a sentence. */
  reason: string;
}
export interface WakeRules {
  default: string;
  limits: { an_hour: number; in_a_chain: number; pause_ms: number };
}
export type WakeResponse = WakeRules & { agents: WakeableAgent[] };

/** A shell command that the page offers for copying. `from` is the agent whose row a test command writes. */
export interface CommandText {
  name: string;
  about: string;
  command: string;
  from?: string;
}

/** Sums of usage, of one agent, model, workspace, day or hour. */
export interface CostSums {
  tokens_in: number;
  tokens_cached: number;
  tokens_out: number;
  cost: number;
  unpriced_tokens: number;
}
export type CostGroup = CostSums & { key: string };

export interface SearchResult {
  /** The id of the row. */
  id: string;
  thread_id?: string;
  message_seq?: number;
  to_inbox?: string;
  task_id?: string;
  from?: string;
  verified?: boolean;
  title?: string;
  snippet?: string;
  created_at?: number;
}

/** A text of a row: the value `text` of the column `field`. */
export interface RenderedSource {
  kind: 'message' | 'inbox' | 'event';
  id: string | number;
  field: 'content' | 'payload' | 'text' | 'tool_input' | 'tool_output' | 'error_msg';
  text: string;
}

/** A text as a tree. `plain` says why there is none; the text is shown as it is then. */
export interface RenderedTree {
  blocks: Block[];
  plain?: string;
}
export type Block =
  | { type: 'paragraph'; children: Inline[] }
  | { type: 'heading'; level: number; children: Inline[] }
  | { type: 'list'; ordered: boolean; start: number; items: ListItem[] }
  | { type: 'quote'; blocks: Block[] }
  | CodeBlock
  | TableBlock
  | { type: 'rule' }
  | { type: 'json'; value: JsonValue }
  | { type: 'diff'; files: FileDiff[] }
  | { type: 'terminal'; lines: TerminalSpan[][] };
export interface ListItem {
  /** Set if the item is a task. */
  checked?: boolean | null;
  blocks: Block[];
}
export interface CodeBlock {
  type: 'code';
  language: string;
  /** Set if the code is a file. */
  path?: string;
  first_line?: number;
  lines: { class?: string; text: string }[][];
}
export interface TableBlock {
  type: 'table';
  alignments: string[];
  /** The first row has the headings. */
  rows: Inline[][][];
}
export type JsonValue =
  | { type: 'object'; entries: { key: string; value: JsonValue }[] }
  | { type: 'array'; items: JsonValue[] }
  | { type: 'string' | 'number' | 'literal' | 'raw'; text: string };
export interface FileDiff {
  /** Empty if the file does not exist. */
  old_path: string;
  new_path: string;
  notes?: string[];
  hunks: { heading: string; lines: DiffLine[] }[];
}
export interface DiffLine {
  kind: 'context' | 'added' | 'removed' | 'note' | 'heading';
  old?: number;
  new?: number;
  text: string;
}
export interface TerminalSpan {
  text: string;
  color?: string;
  background?: string;
  styles?: string[];
}
export type Inline =
  | { type: 'text' | 'code'; text: string }
  | { type: 'strong' | 'emphasis' | 'strike'; children: Inline[] }
  | { type: 'link'; href: string; children: Inline[] }
  | { type: 'image'; src: string; alt: string }
  | { type: 'break' };

/** A browser that has a key. */
export interface BrowserSession {
  id: string;
  browser: string;
  /** It is this browser. */
  current: boolean;
  created_at: number;
  last_used_at: number;
  expires_at: number;
}

/** The key of this browser. */
export interface Session {
  id: string;
  key: string;
}

/** `status` is the HTTP status, 0 if there was no response. */
export type RequestError = Error & { status: number };

// ---- the state of the page ----

/** What has changed since the last rendering. 'all': the route or the snapshot; 'tick': time has passed. */
export type Topic =
  | 'all'
  | 'tick'
  | 'connection'
  | 'notice'
  | 'reconnected'
  | 'agents'
  | 'threads'
  | 'tasks'
  | 'inbox'
  | 'feed'
  | 'timeline'
  | 'costs';
export type Topics = ReadonlySet<Topic>;

/**
 * State of the connection. 'stale': silent; 'retry': waits for the next attempt; 'foreign': as 'retry', because another
 * program answers at the hub's address.
 */
export type ConnectionState = 'connecting' | 'live' | 'stale' | 'retry' | 'foreign';

export interface Thread {
  id: string;
  title: string;
  status: string;
  last_seq: number;
  updated_at: number;
  created_at?: number;
  /** The message_seq of the last message that is in the feed. */
  fedSeq: number;
  /** The newest message that the page has. */
  preview?: Message;
}

/** The totals of one run of an agent. `at`: when they were reported. */
export type InstanceUsage = TelemetryRow & { at: number };

/** A mailbox has an inbox's name, or is a query: '*' is all mail, '>name' is what that name has sent. */
export interface Mailbox {
  name: string;
  unread: number;
  /** Number of messages in the database; undefined for mailboxes that are queries. */
  total?: number;
  /** By id, oldest first; null until the mailbox is opened. */
  rows: Map<string, Mail> | null;
  next?: number | string | null;
  /** Its newest page was loaded. */
  filled?: boolean;
  /** There is more unread mail than `rows` has. */
  hasMoreUnread?: boolean;
  loadingPage?: boolean;
}

export type FeedEntry = { key: number; time: number } & (
  | { type: 'message'; row: Message }
  | { type: 'mail'; row: Mail }
  | { type: 'task'; row: TaskEvent }
);

/** Mail, or a question in a thread in the shape of mail: what a person can reply to. */
export type Request = Mail & { thread_id?: string; message_seq?: number; from_id?: string };

export type AgentStatus = 'working' | 'idle' | 'waiting' | 'error';

/** The usage of an agent in the last 24 hours. `at`, `status` and `model` are those of its last report. */
export interface AgentUsage {
  at: number;
  status?: string;
  model?: string;
  turns?: number;
  tokens_in?: number;
  tokens_out?: number;
  cost?: number;
}

/** What the page knows about an agent. */
export interface AgentSummary {
  row: Agent | { id: string; label?: string; status?: string; workspace?: string };
  /** Time of its last activity. */
  at: number;
  usage?: AgentUsage;
  /** Its last task. */
  task?: Task;
  /** Its last step, unless it is idle. */
  lastEvent?: TaskEvent;
  status: AgentStatus;
  /** Number of unread mail. */
  unread?: number;
  /** What it waits for. */
  wait?: AgentWait;
}

export interface AgentWait {
  /** Completes the sentence "Waits for …". */
  reason: string;
  since: number;
  /** The call for which the tool asks for permission. */
  call?: TaskEvent;
}

/** A request that waits for a reply, with its sender, or an agent that waits for a permission. */
export type Blocked = { key: string; since: number } & (
  | { request: Request; sender?: AgentSummary }
  | { request?: undefined; agent: AgentSummary }
);

/** What needs the person. The counts include mail that is not loaded. */
export interface Attention {
  /** Newest first. */
  blocked: Blocked[];
  /** Newest first. */
  failed: AgentSummary[];
  /** The loaded unread mail that expects no reply. */
  otherMail: Mail[];
  otherMailCount: number;
  count: number;
}

/** The rows that come from the database. */
export interface Data {
  /** The first snapshot has been applied. */
  loaded: boolean;
  totals: Totals | null;
  /** Which mail wakes idle agents, and which agents can be woken. */
  wake: (WakeRules & { agents: Map<string, WakeableAgent> }) | null;
  threads: Map<string, Thread>;
  tasks: Map<string, Task>;
  agents: Map<string, Agent>;
  /** Working directory → its repository. */
  repositories: Map<string, Repository>;
  /** By instance. */
  telemetry: Map<string, InstanceUsage>;
  mailboxes: Map<string, Mailbox>;
  /** By 'threads/id' or 'tasks/id', least recently opened first. */
  timelines: Map<string, Timeline<any>>;
  commands: Map<string, CommandText>;
  /** Agent → its last task event. */
  lastEvents: Map<string, TaskEvent>;
  /** Agent → its last call of a tool. */
  lastCalls: Map<string, TaskEvent>;
  /** Agent → events in each of the last 60 intervals of 5 s. */
  activity: Map<string, number[]>;
  /** Questions to the person in threads, by message id. */
  questions: Map<string, Message>;
  /** Ids of messages to everyone that the person has read. */
  readBroadcasts: Set<string>;
  /** Newest first. */
  feed: FeedEntry[];
  /** Milliseconds from the timestamp of a row to its arrival, of the last rows. */
  latencies: number[];
  /** Number of threads and tasks loaded by scrolling, which are kept in addition. */
  extraItems: number;
  /** The last loaded pages of the lists. */
  lastPages: { threads: ItemPage; tasks: ItemPage } | null;
}
export interface ItemPage {
  next?: number | string | null;
  loadingPage?: boolean;
}

export interface State extends Data {
  /**
   * `at`: the time of the last frame from the hub, or of the next attempt to connect. `lostAt`: since when the data is not
   * updated; 0 while it is.
   */
  connection: { state: ConnectionState; at: number; lostAt: number };
  locked: boolean;
  /** Why the last link did not unlock the page. */
  unlockError: string;
  /** 0, or 1 plus the number of events since the person paused. */
  paused: number;
  status: Status | null;
  notice: string;
  /** Dollars; undefined until it is known. */
  costToday?: number;
  /** Number of events that arrived after the last reconnect. */
  missedEvents: number;
  /** Only rows written after this time count for the latency: the connection did not exist before. */
  measureLatencyFrom: number;
  /** Events in each of the last 60 seconds, oldest first; the last second is incomplete. */
  eventRates: number[];
  /** Thread → the message_seq up to which the person has read it. */
  readMarks: Map<string, number>;
}

/** Requests of data that events do not carry. They return at once; calls in a short time are merged. */
export interface Refresh {
  status(): void;
  agents(): void;
  repositories(): void;
  telemetry(): void;
  mailboxes(): void;
  tasks(): void;
  totals(): void;
  costs(): void;
  wake(): void;
  timeline(timeline: Timeline<any>): void;
}

// ---- timelines ----

export interface TimelineEvents {
  threads: Message;
  tasks: TaskEvent;
}
export type TimelineKind = keyof TimelineEvents;

export interface TimelineRow<E> {
  event: E;
  /** The result of the tool call that the row shows. */
  result?: TaskEvent;
  /** How deep its call is nested in other calls. */
  depth: number;
  /** Changes when the row must be redrawn. */
  version: number;
  /** The row shows a time that passes. */
  running?: boolean;
  /** The person has opened the details of the row. */
  open?: boolean;
  /** The row is the header of this turn, and `event` the turn's first. */
  turn?: Turn;
}

/** A turn of the model, in the loaded events of a task. */
export interface Turn {
  number: number;
  firstEvent: TaskEvent;
  /** Unix milliseconds. */
  start: number;
  end: number;
  calls: number;
  errors: number;
  tokens_in: number;
  tokens_out: number;
  cost: number;
  /** Its steps are shown. */
  isOpen: boolean;
}

/** The rows that a timeline shows: all, or those that are not collapsed. */
export type ShownRows<E> = TimelineRow<E>[] & {
  /** As in `TimelineRows`. Within one `layout` indexes keep their meaning. */
  firstIndex: number;
  layout?: number;
  /** The index of each row among all rows of the timeline; unset if all are shown. */
  sources?: number[];
};

export type TimelineRows<E> = TimelineRow<E>[] & {
  /** Index of the first row; indexes keep their meaning while rows are added and removed at both ends. */
  firstIndex: number;
  /** Changes when the timeline is reloaded. */
  generation: number;
  /** No row exists before the first. */
  complete: boolean;
  /** Rows exist after the last that are not loaded. */
  detached: boolean;
  /** Index of the first row the reader looks at; Infinity while following the end. */
  firstVisible: number;
  /** A page of older rows is loading. */
  loadingPage?: boolean;
};

/** The loaded messages of one thread, or the loaded events of one task. */
export interface Timeline<E> {
  kind: TimelineKind;
  id: string;
  /** The HTTP path below the thread or task. */
  path: string;
  /** Query parameters of the HTTP path. */
  beforeParam: string;
  afterParam: string;
  positionOf(event: E): number;
  /** Positions have no gaps. */
  contiguous?: boolean;
  rows: TimelineRows<E>;
  /** Positions of the first and the last row. */
  first: number;
  last: number;
  callRows: Map<string, TimelineRow<E>>;
  callDepths: Map<string, number>;
  /** Live events that arrived while a page was loading. */
  pending: E[];
  loading: boolean;
  error: string;
  /** Resolves when the page that is loading has been applied. */
  busy?: Promise<void> | null;
  /** The timer of the next request of newer rows. */
  timer?: number;
}

// ---- components and views ----

/** The element of a tag with a class: 'p.facts'. */
export type ElementOf<S extends string> = S extends `${infer Tag}.${string}` ? ElementOfTag<Tag> : ElementOfTag<S>;
type ElementOfTag<Tag extends string> = Tag extends keyof HTMLElementTagNameMap
  ? HTMLElementTagNameMap[Tag]
  : HTMLElement;

/** Attributes and event listeners of an element. */
export type Attributes = {
  [K in keyof HTMLElementEventMap as `on${K}`]?: (event: HTMLElementEventMap[K]) => void;
} & { [name: string]: unknown };

/** A part of the page that is created once and updated often. `root` is its element. */
export interface Component<T> {
  root: HTMLElement;
  set(value: T): void;
}

/** A component in a list of cards (components/card_list.js). */
export interface Card<T> extends Component<T> {
  /** Moves the focus to the card. */
  focus(): void;
  /** Shows that its item is no longer listed. */
  close?(): void;
}

/** How the page shows the writer of a row. */
export interface Author {
  name: string;
  label: string;
  mark: 'you' | 'unverified' | 'agent';
  /** The hue of an agent's mark; names that no agent has are grey. */
  hue?: number;
  /** Explains the mark to the person, or is empty. */
  note: string;
}

/** The fields of a row that say who wrote it. */
export interface Authored {
  from_agent?: string;
  from_id?: string;
  from?: string;
  from_type?: string;
  verified?: boolean;
}

/** What a row on one or two lines shows. */
export interface ItemContent {
  href: string;
  author: Author;
  title: string;
  tag?: string;
  /** Explains the tag. */
  tagNote?: string;
  snippet: string;
  /** Unix milliseconds. */
  time: number;
}

export interface ChipContent {
  label: string;
  href: string;
  isCurrent: boolean;
  count?: number;
}

/** A term and its value in a <dl>. */
export interface Pair {
  label: string;
  value: string;
  tone?: string;
}

export interface ListOptions<T> {
  /** Accessible name. */
  label: string;
  /** Pixels. */
  rowHeight: number;
  /** Returns the identity of an item. */
  keyOf(item: T): string | number;
  /** Creates the link that shows one item. */
  createRow(): Component<T>;
  /** Loads more items. */
  onNearEnd?(): void;
}

/** A list of rows of equal height (components/list_view.js). */
export interface List<T> {
  root: HTMLElement;
  /** The items that are shown. */
  items: T[];
  /** Returns whether the list was used a moment ago, so that its order must not change now. */
  isInUse(): boolean;
  /** Shows items; the one with the key `current` is marked as current. */
  render(items: T[], current?: string | number | null): void;
  /** Returns the item that has the focus. */
  focusedItem(): T | undefined;
}

export interface TimelineRowComponent<E> {
  root: HTMLElement;
  set(row: TimelineRow<E>, previous: TimelineRow<E> | undefined): void;
}

export interface TimelineViewOptions<E> {
  /** Accessible name. */
  label: string;
  ariaLive: 'polite' | 'off';
  createRow(): TimelineRowComponent<E>;
  /** These load the next page in a direction. */
  loadOlder(timeline: Timeline<E>): void;
  loadNewer(timeline: Timeline<E>): void;
  /** Reloads the end. */
  loadLatest(timeline: Timeline<E>): void;
}

/** What a key, the palette or the dialog of shortcuts runs. The action is a route or a function. */
export interface CommandEntry {
  label: string;
  /** Empty if it has no key. */
  keys: string;
  action: string | (() => void);
}

/** A view of the page. It is created when it is first shown. */
export interface View {
  root: HTMLElement;
  readonly title: string;
  /** What single keys do while the view is shown. */
  keys?: Record<string, () => void>;
  /** Takes the parts of the route after the view's name, and its query. */
  route?(parts: string[], params: URLSearchParams): void;
  render(topics: Topics): void;
}
