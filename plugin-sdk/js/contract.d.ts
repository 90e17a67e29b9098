// Generated from wit/plugin.wit by generate-types.mjs. Do not edit: change the contract, and run it.
declare module 'gatewright:plugin/background@0.1.0' {
  /**
   * Returns after how many milliseconds to be called again; none for never.
   */
  export function onTick(): number | null | undefined;
}
declare module 'gatewright:plugin/clock@0.1.0' {
  /**
   * Wall clock. The host may give one value for the whole of a hook.
   */
  export function now(): Timestamp;
  /**
   * Microseconds from an arbitrary point, never going back.
   */
  export function monotonic(): number;
  export interface Timestamp {
    seconds: number,
    nanoseconds: number,
  }
}
declare module 'gatewright:plugin/codec@0.1.0' {
  /**
   * `level` as the coding counts them, from 1 to 9 at the most; 0 is what serves most. Asking twice, the second one counts.
   * In the header hook of that direction (else `wrong-phase`).
   */
  export function compress(direction: Direction, coding: Coding, level: number): void;
  /**
   * A request that is over the bounds is answered with 413, one that is not of this coding with 400; of a response 502,
   * or it is broken off where its head was sent already. In the header hook of that direction (else `wrong-phase`).
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
   * What a decompressed body may become.
   */
  export interface Bounds {
    /**
     * Bytes of the whole.
     */
    bytes: number,
    /**
     * How many times as long as what came; a body within 1 MiB may be denser.
     */
    ratio: number,
  }
}
declare module 'gatewright:plugin/completion-hook@0.1.0' {
  export function onComplete(): void;
}
declare module 'gatewright:plugin/concurrency@0.1.0' {
  /**
   * Takes one of `limit` places under `key` for the exchange of the running hook. The exchange gives it back when it is
   * over, however it ends. Keys are private to the plugin's configuration.
   */
  export function enter(key: string, limit: number): Outcome;
  export interface Outcome {
    allowed: boolean,
    /**
     * How many places are taken under the key, this one with them.
     */
    taken: number,
  }
}
declare module 'gatewright:plugin/consumers@0.1.0' {
  /**
   * Those that stand under this plugin's name, and no others. In `configure` and nowhere else (a call from a hook traps).
   */
  export function credentials(): Array<Credential>;
  /**
   * The limits of their own that consumers have under this plugin's name. In `configure` and nowhere else (a call from a hook
   * traps). Whether a caller is a consumer, the claim `consumer` of its identity says.
   */
  export function limits(): Array<Limit>;
  export interface Credential {
    /**
     * The consumer's name, for the subject of an identity.
     */
    consumer: string,
    /**
     * What is known of it, for the claims of an identity: a JSON object with `consumer`, and `groups` where it has some.
     */
    claims: string,
    /**
     * The credential, a JSON object, checked against the `credential-schema` of the manifest before.
     */
    definition: string,
  }
  export interface Limit {
    consumer: string,
    /**
     * Any JSON, checked against the `limit-schema` of the manifest before.
     */
    definition: string,
  }
}
declare module 'gatewright:plugin/exchange@0.1.0' {
  /**
   * The request line and the status. `path` has the query with it.
   */
  export function method(): string;
  export function scheme(): string;
  export function authority(): string;
  export function path(): string;
  /**
   * 0 before response headers are known.
   */
  export function status(): number;
  /**
   * The first value of a header. Bytes that are not UTF-8 come as U+FFFD.
   */
  export function header(section: Section, name: string): string | null | undefined;
  /**
   * Several headers in one call: the same rule, one answer per name.
   */
  export function selectHeaders(section: Section, names: Array<string>): Array<string | null | undefined>;
  /**
   * Every value of a header, exactly as received.
   */
  export function headerValues(section: Section, name: string): Array<Uint8Array>;
  /**
   * Every header in order. Names are lower-case.
   */
  export function headers(section: Section): Array<[string, Uint8Array]>;
  /**
   * The same as one block, for SDKs: for each field
   * u16le name length, u32le value length, name, value.
   */
  export function encodedHeaders(section: Section): Uint8Array;
  /**
   * Trailers are there when the last chunk of their body is, and can be read and changed in its hook. The response hook may
   * set some as well, which a body that it answers with has too.
   * 
   * A change of the response's headers that the request hook makes is kept, and made when
   * the response hooks of this plugin are due: after those of the plugins behind it, and
   * just before its own. A plugin that knows early what to add needs no response hook.
   */
  export function setHeader(section: Section, name: string, value: string): void;
  export function appendHeader(section: Section, name: string, value: string): void;
  export function removeHeader(section: Section, name: string): void;
  /**
   * `set-header` for each field of a block as `encoded-headers` gives it: all or none.
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
   * Send the request to another upstream of the route's allow-list.
   */
  export function setUpstream(name: string): void;
  /**
   * Facts about the exchange, by name: `source.address`, `route.name`,
   * `connection.tls.version`, `upstream.endpoint`, `request.id`, `identity.subject`, ...
   */
  export function attribute(name: string): string | null | undefined;
  /**
   * Sets `plugin.<this plugin>.<name>`, seen by later plugins and access logs.
   */
  export function setAttribute(name: string, value: string): void;
  /**
   * Who is calling, once a plugin has proved it. Rate limits by identity, access
   * logs and later plugins read it; no client header can set it.
   */
  export function identity(): Caller | null | undefined;
  export function setIdentity(caller: Caller): void;
  /**
   * Asks for the body in one direction. Allowed until the first body byte.
   */
  export function setBodyMode(direction: Direction, mode: BodyMode): void;
  /**
   * For bodies in frames of their own, in a body hook with mode `chunks`: what is decided is about the chunk without its last
   * `tail` bytes. These are kept and come again, joined with what follows as with `hold`, once there are at least `enough` of
   * them or the body is over. Beyond the limit for bodies (`limit-exceeded`) there would never be enough. At the end of the
   * body nothing is kept.
   */
  export function holdBack(tail: number, enough: number): void;
  /**
   * Bytes this plugin keeps for this exchange, from one hook to the next.
   * The host owns them, so they outlive the instance and end with the exchange.
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
   * With this configuration the hook has nothing to do and is not called. In `configure`
   * and nowhere else (a call from a hook traps).
   */
  export function skip(hook: Hook): void;
  /**
   * Changes that are the same for every exchange, and cost no call then. Of the request's headers they are made once the request
   * hook has let the request pass, of the response's just before the response hook; where a hook is skipped, in its
   * place. In `configure` and nowhere else (a call from a hook traps); trailers are `wrong-phase`.
   * 
   * A change that would take a message beyond its limits is left out and logged; what was there under the name of one that
   * sets goes nevertheless.
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
   * All at once; answers in the order of the requests.
   */
  export function sendAll(requests: Array<Request>): Array<Result<Response, CallError>>;
  /**
   * Sends and does not wait.
   */
  export function dispatch(request: Request): void;
  /**
   * Begins a call; its number, for `next`. What is still under way when the hook returns is cancelled.
   */
  export function start(request: Request): number;
  /**
   * Waits for the first of the calls begun to be done, and gives it back once; none where none is under way.
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
   * Compiles the schemas at these places of a JSON document, in `configure` and nowhere else (a call from a hook traps).
   * Places are JSON Pointers; the empty one is the document itself. References within the document are followed, so
   * an OpenAPI 3.1 document will do. At most 16 documents and 2,000 places.
   */
  export function declare(name: string, document: string, places: Array<string>): void;
  /**
   * What is wrong with a value: at most 20 complaints, none where it is good.
   */
  export function check(name: string, place: string, value: Uint8Array): Array<Violation>;
  /**
   * What is wrong in one place.
   */
  export interface Violation {
    /**
     * A JSON Pointer into what was checked.
     */
    pointer: string,
    /**
     * One sentence that does not repeat the value.
     */
    message: string,
  }
  export type CheckError = CheckErrorNotJson | CheckErrorUnknownSchema;
  /**
   * It is no JSON, nested too deep, or has a member twice; why.
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
   * Names a key set, in `configure` and nowhere else (a call from a hook traps).
   * `definition` is a JSON object:
   *   algorithms  list of names, required, never "none"; symmetric and asymmetric do not mix
   *   keys        list of { "pem" | "secret" | "jwk": .., "kid"?, "alg"? }
   *   jwks        address of a key set; its host is an upstream's name, or is connected to directly
   *   jwks_file   path of a key set
   *   discovery   in the place of jwks: the name of an upstream through which the discovery document of `issuer` is fetched
   *               (OpenID Connect Discovery 1.0), and the key set that it names
   *   issuer, audience (text or list), leeway (seconds, default 0, at most 300)
   * At least one of keys, jwks, jwks_file and discovery. An address or a path must stand in the plugin's
   * configuration as the operator wrote it, with `discovery` the upstream and the issuer: a plugin cannot invent one.
   */
  export function declare(keys: string, definition: string): void;
  /**
   * The claims as a JSON object. `exp` is always required and checked, `nbf` and `iat` where present.
   */
  export function verify(keys: string, token: string): string;
  /**
   * Checks the signature of any bytes, by the same rules for keys. `algorithm` is its name in a token (RFC 7518, RFC 8037), and
   * the signature has the form that it has there; `kid` is the key's name, where it is known.
   */
  export function verifyMessage(keys: string, kid: string | null | undefined, algorithm: string, message: Uint8Array, signature: Uint8Array): void;
  /**
   * The discovery document of a key set with `discovery`: a JSON object that names this very issuer. None while there is none: it
   * was never fetched, or the last good one is too old.
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
   * The manifest, as JSON: name, version, `config-schema` (JSON Schema),
   * `credential-schema` and `limit-schema` (of what it takes of consumers), `metrics`, `wants` (capabilities), `state` ("none" | "instance").
   * Called once per artifact in an instance that is thrown away.
   */
  export function describe(): string;
  /**
   * The configuration, as JSON, checked against `config-schema` before.
   * Called once in the life of an instance, before any hook. It may run at
   * build time of a snapshot: keep no host handle from it.
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
   * Whether `verify` takes this hash: for `configure`. Never waits. The error does not tell the hash.
   */
  export function check(hash: string): void;
  /**
   * Whether the password is the one that the hash was made of; not in `configure` (that traps). The host remembers for
   * some minutes what was right, never what was wrong.
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
   * So many are being checked that this one would wait too long.
   */
  export interface VerifyErrorBusy {
    tag: 'busy',
  }
}
declare module 'gatewright:plugin/random@0.1.0' {
  /**
   * `length` is at most 65,536; more traps.
   */
  export function bytes(length: number): Uint8Array;
  export function number(): number;
}
declare module 'gatewright:plugin/rate-limit@0.1.0' {
  /**
   * Takes `cost` from the bucket `key`, whole or not at all: from the one that `take-all` has under this key for a token
   * bucket of this quota. Keys are private to the plugin's configuration. Their number is bounded: the host forgets full
   * buckets first.
   */
  export function take(key: string, quota: Quota, cost: number): Outcome;
  /**
   * Takes `cost` from what every rule has under `key`, or from none. Outcomes are in the order of the rules; it was taken
   * where all allow. Rules that differ in anything count apart.
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
     * How much may still be taken at once.
     */
    remaining: number,
    /**
     * Until the whole burst is there again.
     */
    resetMs: number,
    /**
     * 0 where allowed; else the wait until `cost` could be taken.
     */
    retryAfterMs: number,
  }
  /**
   * `requests` in `length-ms`. Windows follow one another; one of them begins at `anchor-ms`, milliseconds since 1970
   * (UTC), in the past or the future.
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
   * Room comes back evenly.
   */
  export interface RuleTokenBucket {
    tag: 'token-bucket',
    val: Quota,
  }
  /**
   * A window begins with the whole number; what is left of it is gone at its end.
   */
  export interface RuleFixedWindow {
    tag: 'fixed-window',
    val: Window,
  }
  /**
   * The count of the window before fades out over the running one, so that two windows' worth never come at once.
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
   * Nobody can count now, and the operator wants requests refused then.
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
   * Seals a message with the secret of this name. What is sealed for one `purpose` does not open for another; the same message
   * is sealed differently each time. The result is 49 bytes longer than the message.
   */
  export function seal(key: string, purpose: string, message: Uint8Array): Uint8Array;
  /**
   * Opens what was sealed so; none for everything else.
   */
  export function open(key: string, purpose: string, sealed: Uint8Array): Uint8Array | null | undefined;
  export type SealError = SealErrorUnknownKey | SealErrorWeakKey | SealErrorTooLarge | SealErrorOther;
  /**
   * There is no such secret, or it was not granted.
   */
  export interface SealErrorUnknownKey {
    tag: 'unknown-key',
  }
  /**
   * The secret has less than 32 bytes.
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
   * Writes only where the version is still the expected one (none: absent).
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
   * The turn under a key, or what came of another's, for which it waits at most so long and never longer than
   * `limits.callout_timeout` (0: as long as that). A turn that ends without `done` is the next one's. Taking counts as a
   * callout. Beyond 10,000 keys at once everybody has a turn of his own.
   */
  export function take(key: string, waitMs: number): Turn;
  /**
   * Ends the own turn under a key: all who wait get these bytes, and who comes from now on has a turn of his own. So keep
   * before what is to be found later, and look for it once more when the turn is there.
   */
  export function done(key: string, answer: Uint8Array): void;
  export type Turn = TurnMine | TurnDone | TurnTimedOut;
  /**
   * The caller's, until it calls `done` or its hook is over, however that ends. Others under the key wait for that.
   */
  export interface TurnMine {
    tag: 'mine',
  }
  /**
   * Another's is over, and this is what it gave to `done`.
   */
  export interface TurnDone {
    tag: 'done',
    val: Uint8Array,
  }
  /**
   * Another's is not over in this time.
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
   * Not called for the body; bytes go through untouched (the default).
   * ## `"whole"`
   * 
   * Called once with the whole body, up to the limit the operator set. The
   * headers wait for it, so they and the status can still be changed. Of a request
   * also where it has none: it is shown as an empty one, and can be replaced.
   * ## `"chunks"`
   * 
   * Called for each chunk as it comes.
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
   * Names the host keeps for itself: framing, hop-by-hop, internal.
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
   * A proven caller; `claims` is a JSON object.
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
   * Next plugin, with whatever was changed.
   */
  export interface DecisionProceed {
    tag: 'proceed',
  }
  /**
   * Stop here and answer the client.
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
   * Send the chunk (and all that was held) on, unchanged and uncopied.
   */
  export interface BodyDecisionPass {
    tag: 'pass',
  }
  /**
   * Keep the chunk back; it comes again joined with what follows: the next chunk, or several where much was shown again already.
   * What comes again is bounded by what came, so that a body in small chunks costs no more than its length.
   */
  export interface BodyDecisionHold {
    tag: 'hold',
  }
  /**
   * Send these bytes in the place of the chunk and all that was held.
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
