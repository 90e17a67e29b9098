// Generated from wit/plugin.wit by generate-types.mjs. Do not edit: change the contract, and run it.
declare module 'gatewright:plugin/background@0.1.0' {
  /**
   * Returns the milliseconds until the next call; none for no further call.
   */
  export function onTick(): number | null | undefined;
}
declare module 'gatewright:plugin/clock@0.1.0' {
  /**
   * Wall clock. The host may return the same value throughout a hook.
   */
  export function now(): Timestamp;
  /**
   * Microseconds from an arbitrary point; never goes back.
   */
  export function monotonic(): number;
  export interface Timestamp {
    seconds: number,
    nanoseconds: number,
  }
}
declare module 'gatewright:plugin/codec@0.1.0' {
  /**
   * `level` is the coding's own, but 1 to 9 at the most; 0 chooses a good default. If called twice, the second call
   * counts. Only in the header hook of that direction (otherwise `wrong-phase`).
   */
  export function compress(direction: Direction, coding: Coding, level: number): void;
  /**
   * A request over the bounds is answered with 413, one that is not in this coding with 400. A response is replaced by
   * a 502, or broken off if its head was already sent. Only in the header hook of that direction (otherwise
   * `wrong-phase`).
   */
  export function decompress(direction: Direction, coding: Coding, bounds: Bounds): void;
  export type Direction = import('gatewright:plugin/types@0.1.0').Direction;
  export type MutateError = import('gatewright:plugin/types@0.1.0').MutateError;
  /**
   * # Variants
   * 
   * ## `"gzip"`
   * 
   * ## `"brotli"`
   * 
   * ## `"zstd"`
   */
  export type Coding = 'gzip' | 'brotli' | 'zstd';
  /**
   * Limits for a decompressed body.
   */
  export interface Bounds {
    /**
     * Bytes of the whole body.
     */
    bytes: number,
    /**
     * How many times as long as the compressed body; a body within 1 MiB may exceed this ratio.
     */
    ratio: number,
  }
}
declare module 'gatewright:plugin/completion-hook@0.1.0' {
  export function onComplete(): void;
}
declare module 'gatewright:plugin/concurrency@0.1.0' {
  /**
   * Takes one of `limit` places under `key` for the exchange of the running hook. The exchange gives it back when it
   * ends, however it ends. Keys are private to the plugin's configuration.
   */
  export function enter(key: string, limit: number): Outcome;
  export interface Outcome {
    allowed: boolean,
    /**
     * How many places are taken under the key, including this one.
     */
    taken: number,
  }
}
declare module 'gatewright:plugin/consumers@0.1.0' {
  /**
   * The credentials under this plugin's name, and no others. Only in `configure` (a call from a hook traps).
   */
  export function credentials(): Array<Credential>;
  /**
   * The consumers' own limits under this plugin's name. Only in `configure` (a call from a hook traps). The claim
   * `consumer` of a caller's identity says which consumer it is, if any.
   */
  export function limits(): Array<Limit>;
  export interface Credential {
    /**
     * The consumer's name, to be used as the subject of an identity.
     */
    consumer: string,
    /**
     * Facts about the consumer, to be used as the claims of an identity: a JSON object with `consumer`, and `groups`
     * if it has any.
     */
    claims: string,
    /**
     * The credential, a JSON object that was checked against the `credential-schema` of the manifest.
     */
    definition: string,
  }
  export interface Limit {
    consumer: string,
    /**
     * Any JSON; it was checked against the `limit-schema` of the manifest.
     */
    definition: string,
  }
}
declare module 'gatewright:plugin/exchange@0.1.0' {
  /**
   * The request line and the status. `path` includes the query.
   */
  export function method(): string;
  export function scheme(): string;
  export function authority(): string;
  export function path(): string;
  /**
   * 0 until the response headers are known.
   */
  export function status(): number;
  /**
   * The first value of a header. Bytes that are not UTF-8 become U+FFFD.
   */
  export function header(section: Section, name: string): string | null | undefined;
  /**
   * Several headers in one call, by the same rule: one result per name.
   */
  export function selectHeaders(section: Section, names: Array<string>): Array<string | null | undefined>;
  /**
   * Every value of a header, exactly as received.
   */
  export function headerValues(section: Section, name: string): Array<Uint8Array>;
  /**
   * Every header, in order. Names are lower-case.
   */
  export function headers(section: Section): Array<[string, Uint8Array]>;
  /**
   * The same as one block, for SDKs: for each field
   * u16le name length, u32le value length, name, value.
   */
  export function encodedHeaders(section: Section): Uint8Array;
  /**
   * Trailers are present from the last chunk of their body on, and can be read and changed in the hook for it. The
   * response hook may set trailers too; they are also sent after a body with which it answers.
   * 
   * Changes that the request hook makes to the response's headers are kept until the response hooks of this plugin are
   * due: they are applied after the response hooks of the plugins behind it, and just before its own. A plugin that
   * knows early what to add needs no response hook.
   */
  export function setHeader(section: Section, name: string, value: string): void;
  export function appendHeader(section: Section, name: string, value: string): void;
  export function removeHeader(section: Section, name: string): void;
  /**
   * `set-header` for each field of a block in the format of `encoded-headers`: all or none.
   */
  export function setHeaders(section: Section, block: Uint8Array): void;
  /**
   * `append-header` for each field of a block: all or none.
   */
  export function appendHeaders(section: Section, block: Uint8Array): void;
  export function setMethod(method: string): void;
  export function setAuthority(authority: string): void;
  export function setPath(path: string): void;
  export function setStatus(status: number): void;
  /**
   * Sends the request to another upstream on the route's allow-list.
   */
  export function setUpstream(name: string): void;
  /**
   * Facts about the exchange, by name: `source.address`, `route.name`,
   * `connection.tls.version`, `upstream.endpoint`, `request.id`, `identity.subject`, ...
   */
  export function attribute(name: string): string | null | undefined;
  /**
   * Sets `plugin.<this plugin>.<name>`, which later plugins and access logs see.
   */
  export function setAttribute(name: string, value: string): void;
  /**
   * Who is calling, once a plugin has authenticated the caller. Rate limits by identity, access logs and later plugins
   * read it; no client header can set it.
   */
  export function identity(): Caller | null | undefined;
  export function setIdentity(caller: Caller): void;
  /**
   * Asks for the body in one direction. Allowed until the first body byte.
   */
  export function setBodyMode(direction: Direction, mode: BodyMode): void;
  /**
   * For bodies that have frames of their own, in a body hook with mode `chunks`: the decision applies to the chunk
   * without its last `tail` bytes. These are kept and shown again, joined with what follows as with `hold`, once there
   * are at least `enough` bytes or the body ends. An `enough` beyond the limit for bodies could never be reached, and
   * fails with `limit-exceeded`. At the end of the body nothing is kept.
   */
  export function holdBack(tail: number, enough: number): void;
  /**
   * Bytes that this plugin keeps for this exchange from one hook to the next. The host owns them, so they outlive the
   * instance and end with the exchange.
   */
  export function state(): Uint8Array;
  export function setState(state: Uint8Array): void;
  export type Section = import('gatewright:plugin/types@0.1.0').Section;
  export type Direction = import('gatewright:plugin/types@0.1.0').Direction;
  export type BodyMode = import('gatewright:plugin/types@0.1.0').BodyMode;
  export type MutateError = import('gatewright:plugin/types@0.1.0').MutateError;
  export type Caller = import('gatewright:plugin/types@0.1.0').Caller;
}
declare module 'gatewright:plugin/hooks@0.1.0' {
  /**
   * Declares that with this configuration the hook has nothing to do; it is then not called. Only in `configure` (a
   * call from a hook traps).
   */
  export function skip(hook: Hook): void;
  /**
   * Header changes that are the same for every exchange, and so cost no call. Changes of the request's headers are
   * made once the request hook has let the request pass, those of the response's headers just before the response
   * hook; if the hook is skipped, in its place. Only in `configure` (a call from a hook traps); trailers are
   * `wrong-phase`.
   * 
   * A change that would take a message beyond its limits is left out and logged; a `set` that is left out still
   * removes the previous values.
   */
  export function always(section: Section, changes: Array<HeaderChange>): void;
  export type Section = import('gatewright:plugin/types@0.1.0').Section;
  export type MutateError = import('gatewright:plugin/types@0.1.0').MutateError;
  /**
   * # Variants
   * 
   * ## `"request"`
   * 
   * ## `"request-body"`
   * 
   * ## `"response"`
   * 
   * ## `"response-body"`
   * 
   * ## `"completion"`
   */
  export type Hook = 'request' | 'request-body' | 'response' | 'response-body' | 'completion';
  export type HeaderChange = HeaderChangeSet | HeaderChangeAppend | HeaderChangeRemove;
  export interface HeaderChangeSet {
    tag: 'set',
    val: [string, string],
  }
  export interface HeaderChangeAppend {
    tag: 'append',
    val: [string, string],
  }
  export interface HeaderChangeRemove {
    tag: 'remove',
    val: string,
  }
}
declare module 'gatewright:plugin/http-client@0.1.0' {
  export function send(request: Request): Response;
  /**
   * Sends all requests at once; the results are in the order of the requests.
   */
  export function sendAll(requests: Array<Request>): Array<Result<Response, CallError>>;
  /**
   * Sends the request and does not wait for a response.
   */
  export function dispatch(request: Request): void;
  /**
   * Begins a call and returns its number, for `next`. Calls still in progress when the hook returns are cancelled.
   */
  export function start(request: Request): number;
  /**
   * Waits until one of the calls begun is done, and returns its result, once; none if no call is in progress.
   */
  export function next(): [number, Result<Response, CallError>] | null | undefined;
  export interface Request {
    /**
     * A name from the plugin's allow-list, never an address.
     */
    upstream: string,
    method: string,
    path: string,
    headers: Array<[string, string]>,
    body: Uint8Array,
    timeoutMs: number,
  }
  export interface Response {
    status: number,
    headers: Array<[string, Uint8Array]>,
    body: Uint8Array,
  }
  export type CallError = CallErrorUnknownUpstream | CallErrorTimedOut | CallErrorConnectionFailed | CallErrorResponseTooLarge | CallErrorLimitExceeded | CallErrorOther;
  export interface CallErrorUnknownUpstream {
    tag: 'unknown-upstream',
  }
  export interface CallErrorTimedOut {
    tag: 'timed-out',
  }
  export interface CallErrorConnectionFailed {
    tag: 'connection-failed',
    val: string,
  }
  export interface CallErrorResponseTooLarge {
    tag: 'response-too-large',
  }
  export interface CallErrorLimitExceeded {
    tag: 'limit-exceeded',
  }
  export interface CallErrorOther {
    tag: 'other',
    val: string,
  }
  export type Result<T, E> = { tag: 'ok', val: T } | { tag: 'err', val: E };
}
declare module 'gatewright:plugin/json-schema@0.1.0' {
  /**
   * Compiles the schemas at these places of a JSON document; only in `configure` (a call from a hook traps). Places
   * are JSON Pointers; the empty one is the document itself. References within the document are followed, so an
   * OpenAPI 3.1 document works. At most 16 documents and 2,000 places.
   */
  export function declare(name: string, document: string, places: Array<string>): void;
  /**
   * Returns what is wrong with a value: at most 20 violations, none if it is valid.
   */
  export function check(name: string, place: string, value: Uint8Array): Array<Violation>;
  /**
   * What is wrong in one place.
   */
  export interface Violation {
    /**
     * A JSON Pointer into the checked value.
     */
    pointer: string,
    /**
     * One sentence that does not repeat the value.
     */
    message: string,
  }
  export type CheckError = CheckErrorNotJson | CheckErrorUnknownSchema;
  /**
   * The value is not JSON, is nested too deeply, or has a member twice; the text says which.
   */
  export interface CheckErrorNotJson {
    tag: 'not-json',
    val: string,
  }
  export interface CheckErrorUnknownSchema {
    tag: 'unknown-schema',
  }
}
declare module 'gatewright:plugin/jwt@0.1.0' {
  /**
   * Declares a key set; only in `configure` (a call from a hook traps). `definition` is a JSON object:
   *   algorithms  list of names, required, never "none"; symmetric and asymmetric do not mix
   *   keys        list of { "pem" | "secret" | "jwk": .., "kid"?, "alg"? }
   *   jwks        address of a key set; its host is the name of an upstream, or is connected to directly
   *   jwks_file   path of a key set
   *   discovery   instead of jwks: the name of an upstream through which the discovery document of `issuer` is fetched
   *               (OpenID Connect Discovery 1.0), and the key set that it names
   *   issuer, audience (text or list), leeway (seconds, default 0, at most 300)
   * At least one of keys, jwks, jwks_file and discovery is required. An address or a path must appear in the plugin's
   * configuration exactly as the operator wrote it, and with `discovery` so must the upstream and the issuer: a plugin
   * cannot invent one.
   */
  export function declare(keys: string, definition: string): void;
  /**
   * Returns the claims as a JSON object. `exp` is always required and checked, `nbf` and `iat` if present.
   */
  export function verify(keys: string, token: string): string;
  /**
   * Checks the signature of any bytes, by the same rules for keys. `algorithm` is its name in a token (RFC 7518, RFC
   * 8037), and the signature has the same form as in a token; `kid` is the name of the key, if known.
   */
  export function verifyMessage(keys: string, kid: string | null | undefined, algorithm: string, message: Uint8Array, signature: Uint8Array): void;
  /**
   * The discovery document of a key set with `discovery`: a JSON object that names exactly this issuer. None if it was
   * never fetched, or if the last good one is too old.
   */
  export function discovered(keys: string): string | null | undefined;
  export type VerifyError = VerifyErrorMalformed | VerifyErrorUnknownKey | VerifyErrorBadSignature | VerifyErrorExpired | VerifyErrorNotYetValid | VerifyErrorWrongIssuer | VerifyErrorWrongAudience | VerifyErrorAlgorithmNotAllowed | VerifyErrorKeysUnavailable | VerifyErrorOther;
  export interface VerifyErrorMalformed {
    tag: 'malformed',
  }
  export interface VerifyErrorUnknownKey {
    tag: 'unknown-key',
  }
  export interface VerifyErrorBadSignature {
    tag: 'bad-signature',
  }
  export interface VerifyErrorExpired {
    tag: 'expired',
  }
  export interface VerifyErrorNotYetValid {
    tag: 'not-yet-valid',
  }
  export interface VerifyErrorWrongIssuer {
    tag: 'wrong-issuer',
  }
  export interface VerifyErrorWrongAudience {
    tag: 'wrong-audience',
  }
  export interface VerifyErrorAlgorithmNotAllowed {
    tag: 'algorithm-not-allowed',
  }
  export interface VerifyErrorKeysUnavailable {
    tag: 'keys-unavailable',
  }
  export interface VerifyErrorOther {
    tag: 'other',
    val: string,
  }
}
declare module 'gatewright:plugin/lifecycle@0.1.0' {
  /**
   * The manifest, as JSON: name, version, `config-schema` (JSON Schema), `credential-schema` and `limit-schema` (for
   * the settings of consumers under this plugin's name), `metrics`, `wants` (capabilities), `state` ("none" |
   * "instance"). Called once per artifact, in an instance that is then thrown away.
   */
  export function describe(): string;
  /**
   * Passes the configuration, as JSON that was checked against `config-schema`. Called once in the life of an
   * instance, before any hook. It may run while a snapshot is built: keep no host handle from it.
   */
  export function configure(config: string): void;
}
declare module 'gatewright:plugin/log@0.1.0' {
  /**
   * Whether a line of this level would be kept.
   */
  export function enabled(level: Level): boolean;
  export function write(level: Level, message: string, fields: Array<[string, string]>): void;
  /**
   * # Variants
   * 
   * ## `"trace"`
   * 
   * ## `"debug"`
   * 
   * ## `"info"`
   * 
   * ## `"warn"`
   * 
   * ## `"error"`
   */
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error';
}
declare module 'gatewright:plugin/metrics@0.1.0' {
  export function count(name: string, labels: Array<string>, delta: number): void;
  export function gauge(name: string, labels: Array<string>, value: number): void;
  export function observe(name: string, labels: Array<string>, value: number): void;
}
declare module 'gatewright:plugin/password@0.1.0' {
  /**
   * Whether `verify` accepts this hash; meant for `configure`. Never waits. The error does not contain the hash.
   */
  export function check(hash: string): void;
  /**
   * Whether the hash was made from this password; not in `configure` (that traps). The host remembers correct
   * passwords for some minutes, and never wrong ones.
   */
  export function verify(hash: string, password: string): boolean;
  export type VerifyError = VerifyErrorUnsupported | VerifyErrorBusy;
  /**
   * Not a hash that `check` accepts.
   */
  export interface VerifyErrorUnsupported {
    tag: 'unsupported',
    val: string,
  }
  /**
   * So many passwords are being checked that this one would wait too long.
   */
  export interface VerifyErrorBusy {
    tag: 'busy',
  }
}
declare module 'gatewright:plugin/random@0.1.0' {
  /**
   * `length` is at most 65,536; a larger one traps.
   */
  export function bytes(length: number): Uint8Array;
  export function number(): number;
}
declare module 'gatewright:plugin/rate-limit@0.1.0' {
  /**
   * Takes `cost` from the bucket `key`, whole or not at all. It is the same bucket that `take-all` uses for this key
   * and a token bucket with this quota. Keys are private to the plugin's configuration. Their number is bounded: the
   * host forgets full buckets first.
   */
  export function take(key: string, quota: Quota, cost: number): Outcome;
  /**
   * Takes `cost` under `key` from every rule, or from none. The outcomes are in the order of the rules; `cost` was
   * taken if all of them allow it. Rules that differ in anything count separately.
   */
  export function takeAll(key: string, rules: Array<Rule>, cost: number): Array<Outcome>;
  /**
   * `requests` per `per-ms`, of which `burst` may come at once (0: as many as `requests`).
   */
  export interface Quota {
    requests: number,
    perMs: number,
    burst: number,
  }
  export interface Outcome {
    allowed: boolean,
    /**
     * How much can still be taken at once.
     */
    remaining: number,
    /**
     * Milliseconds until the whole burst is available again.
     */
    resetMs: number,
    /**
     * 0 if allowed; otherwise the milliseconds until `cost` can be taken.
     */
    retryAfterMs: number,
  }
  /**
   * `requests` in `length-ms`. Windows follow one another without gaps; `anchor-ms` is the start of one of them, in
   * milliseconds since 1970 (UTC), in the past or the future.
   */
  export interface Window {
    requests: number,
    lengthMs: number,
    anchorMs: number,
  }
  /**
   * One limit and how it counts.
   */
  export type Rule = RuleTokenBucket | RuleFixedWindow | RuleSlidingWindow;
  /**
   * Capacity comes back evenly.
   */
  export interface RuleTokenBucket {
    tag: 'token-bucket',
    val: Quota,
  }
  /**
   * Each window begins with the full number of requests; what is unused at its end is lost.
   */
  export interface RuleFixedWindow {
    tag: 'fixed-window',
    val: Window,
  }
  /**
   * The count of the previous window fades out over the current one, so that two windows' worth never come at once.
   */
  export interface RuleSlidingWindow {
    tag: 'sliding-window',
    val: Window,
  }
  export type LimitError = LimitErrorLimitExceeded | LimitErrorUnavailable | LimitErrorOther;
  /**
   * More than 16 rules, or none.
   */
  export interface LimitErrorLimitExceeded {
    tag: 'limit-exceeded',
  }
  /**
   * Counting is not possible now, and the operator wants requests refused in this case.
   */
  export interface LimitErrorUnavailable {
    tag: 'unavailable',
  }
  export interface LimitErrorOther {
    tag: 'other',
    val: string,
  }
}
declare module 'gatewright:plugin/request-body-hook@0.1.0' {
  export function onRequestBody(chunk: Uint8Array, endOfStream: boolean): BodyDecision;
  export type BodyDecision = import('gatewright:plugin/types@0.1.0').BodyDecision;
}
declare module 'gatewright:plugin/request-hook@0.1.0' {
  export function onRequest(endOfStream: boolean): Decision;
  export type Decision = import('gatewright:plugin/types@0.1.0').Decision;
}
declare module 'gatewright:plugin/response-body-hook@0.1.0' {
  export function onResponseBody(chunk: Uint8Array, endOfStream: boolean): BodyDecision;
  export type BodyDecision = import('gatewright:plugin/types@0.1.0').BodyDecision;
}
declare module 'gatewright:plugin/response-hook@0.1.0' {
  export function onResponse(endOfStream: boolean): Decision;
  export type Decision = import('gatewright:plugin/types@0.1.0').Decision;
}
declare module 'gatewright:plugin/seal@0.1.0' {
  /**
   * Seals a message with the secret of this name. A message sealed for one `purpose` does not open for another; the
   * same message is sealed differently each time. The result is 49 bytes longer than the message.
   */
  export function seal(key: string, purpose: string, message: Uint8Array): Uint8Array;
  /**
   * Opens a message sealed with the same key and purpose; none for anything else.
   */
  export function open(key: string, purpose: string, sealed: Uint8Array): Uint8Array | null | undefined;
  export type SealError = SealErrorUnknownKey | SealErrorWeakKey | SealErrorTooLarge | SealErrorOther;
  /**
   * The secret does not exist or was not granted.
   */
  export interface SealErrorUnknownKey {
    tag: 'unknown-key',
  }
  /**
   * The secret has fewer than 32 bytes.
   */
  export interface SealErrorWeakKey {
    tag: 'weak-key',
  }
  /**
   * The message has more than 65,536 bytes.
   */
  export interface SealErrorTooLarge {
    tag: 'too-large',
  }
  export interface SealErrorOther {
    tag: 'other',
    val: string,
  }
}
declare module 'gatewright:plugin/secrets@0.1.0' {
  export function get(name: string): string | null | undefined;
}
declare module 'gatewright:plugin/shared-store@0.1.0' {
  export function get(key: string): Entry | null | undefined;
  /**
   * Returns the new version.
   */
  export function set(key: string, value: Uint8Array, ttlMs: number | null | undefined): number;
  /**
   * Writes only if the version is still the expected one (none: the key is absent).
   */
  export function compareAndSet(key: string, expected: number | null | undefined, value: Uint8Array, ttlMs: number | null | undefined): number;
  export function remove(key: string): boolean;
  /**
   * Atomic. A missing key counts as 0; `ttl-ms` is set on creation only.
   */
  export function increment(key: string, delta: number, ttlMs: number | null | undefined): number;
  export interface Entry {
    value: Uint8Array,
    version: number,
  }
  export type StoreError = StoreErrorLimitExceeded | StoreErrorNotANumber | StoreErrorOther;
  export interface StoreErrorLimitExceeded {
    tag: 'limit-exceeded',
  }
  export interface StoreErrorNotANumber {
    tag: 'not-a-number',
  }
  export interface StoreErrorOther {
    tag: 'other',
    val: string,
  }
  export type SwapError = SwapErrorConflict | SwapErrorStore;
  export interface SwapErrorConflict {
    tag: 'conflict',
    val: Entry | null | undefined,
  }
  export interface SwapErrorStore {
    tag: 'store',
    val: StoreError,
  }
}
declare module 'gatewright:plugin/single-flight@0.1.0' {
  /**
   * Takes the turn for a key, or waits for the result of the caller that has it: at most `wait-ms`, and never longer
   * than `limits.callout_timeout` (0: as long as that). If a turn ends without `done`, the next caller gets it. Taking
   * a turn counts as a callout. Beyond 10,000 keys at once, every caller gets a turn of its own.
   */
  export function take(key: string, waitMs: number): Turn;
  /**
   * Ends the caller's own turn for a key: all who wait get these bytes, and whoever calls `take` from now on gets a
   * new turn. So store the result before calling `done`, and look for a stored result again after getting a turn.
   */
  export function done(key: string, answer: Uint8Array): void;
  export type Turn = TurnMine | TurnDone | TurnTimedOut;
  /**
   * The caller has the turn, until it calls `done` or its hook ends in any way. Other callers for the key wait for
   * that.
   */
  export interface TurnMine {
    tag: 'mine',
  }
  /**
   * Another caller's turn is over; these are the bytes it passed to `done`.
   */
  export interface TurnDone {
    tag: 'done',
    val: Uint8Array,
  }
  /**
   * Another caller's turn did not end within the wait.
   */
  export interface TurnTimedOut {
    tag: 'timed-out',
  }
}
declare module 'gatewright:plugin/types@0.1.0' {
  /**
   * Which header block a call is about.
   * # Variants
   * 
   * ## `"request-headers"`
   * 
   * ## `"request-trailers"`
   * 
   * ## `"response-headers"`
   * 
   * ## `"response-trailers"`
   */
  export type Section = 'request-headers' | 'request-trailers' | 'response-headers' | 'response-trailers';
  /**
   * # Variants
   * 
   * ## `"request"`
   * 
   * ## `"response"`
   */
  export type Direction = 'request' | 'response';
  /**
   * How much of a body the plugin wants to see.
   * # Variants
   * 
   * ## `"skip"`
   * 
   * Not called for the body; the bytes pass through untouched (the default).
   * ## `"whole"`
   * 
   * Called once with the whole body, up to the limit that the operator set. The headers wait for it, so they and the
   * status can still be changed. A request without a body is shown as an empty one, which can be replaced.
   * ## `"chunks"`
   * 
   * Called for each chunk as it arrives.
   */
  export type BodyMode = 'skip' | 'whole' | 'chunks';
  /**
   * Why the host refused a change.
   */
  export type MutateError = MutateErrorInvalidSyntax | MutateErrorForbidden | MutateErrorLimitExceeded | MutateErrorWrongPhase | MutateErrorNotGranted | MutateErrorOther;
  /**
   * Not a valid header name, header value, method, path or status.
   */
  export interface MutateErrorInvalidSyntax {
    tag: 'invalid-syntax',
  }
  /**
   * A name reserved for the host: framing, hop-by-hop, internal.
   */
  export interface MutateErrorForbidden {
    tag: 'forbidden',
  }
  /**
   * Over a size or count limit.
   */
  export interface MutateErrorLimitExceeded {
    tag: 'limit-exceeded',
  }
  /**
   * Too late or too early in the exchange for this change.
   */
  export interface MutateErrorWrongPhase {
    tag: 'wrong-phase',
  }
  /**
   * The operator did not grant what this call needs.
   */
  export interface MutateErrorNotGranted {
    tag: 'not-granted',
  }
  export interface MutateErrorOther {
    tag: 'other',
    val: string,
  }
  /**
   * An authenticated caller; `claims` is a JSON object.
   */
  export interface Caller {
    subject: string,
    claims: string,
  }
  /**
   * A response made by the plugin.
   */
  export interface LocalResponse {
    status: number,
    headers: Array<[string, string]>,
    body: Uint8Array,
  }
  /**
   * What happens after a header hook.
   */
  export type Decision = DecisionProceed | DecisionRespond | DecisionAbort;
  /**
   * Go on to the next plugin, with all changes made so far.
   */
  export interface DecisionProceed {
    tag: 'proceed',
  }
  /**
   * Stop here and answer the client with this response.
   */
  export interface DecisionRespond {
    tag: 'respond',
    val: LocalResponse,
  }
  /**
   * Stop here and reset the client's stream.
   */
  export interface DecisionAbort {
    tag: 'abort',
  }
  /**
   * What happens after a body hook.
   */
  export type BodyDecision = BodyDecisionPass | BodyDecisionHold | BodyDecisionReplace | BodyDecisionRespond | BodyDecisionAbort;
  /**
   * Send the chunk, and everything held so far, on unchanged and uncopied.
   */
  export interface BodyDecisionPass {
    tag: 'pass',
  }
  /**
   * Keep the chunk back. It is shown again, joined with the next chunk, or with several if much of the body has been
   * shown repeatedly: the bytes shown again are bounded by the bytes received, so a body in small chunks costs no
   * more than its length.
   */
  export interface BodyDecisionHold {
    tag: 'hold',
  }
  /**
   * Send these bytes instead of the chunk and everything held so far.
   */
  export interface BodyDecisionReplace {
    tag: 'replace',
    val: Uint8Array,
  }
  export interface BodyDecisionRespond {
    tag: 'respond',
    val: LocalResponse,
  }
  export interface BodyDecisionAbort {
    tag: 'abort',
  }
}
