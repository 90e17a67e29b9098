// Gateway plugins in C.
//
// A plugin defines those of the functions below under "The plugin" that its world (wit/world.wit) exports. Everything
// else here is what the gateway offers, under short names; the rest is in plugin.h, which `gatewright plugin build`
// generates from the world, under long names.
//
// Who frees what:
//   * a gw_text that a function of this header fills, or that a hook receives, is yours: gw_free it, which an
//     empty one also allows;
//   * functions only read their arguments, so literals are fine: gw_lit("text");
//   * a decision copies what it is made from, and is freed for you when the gateway has read it;
//   * if memory runs out, the hook ends in a trap: no function here returns NULL for that.
//
// An instance runs one hook at a time and, with the isolation `shared`, one after another: globals live from one
// exchange to the next. So memory that a hook does not free is leaked; with `request` every exchange has fresh memory.
//
// A hook that can only fail calls gw_fail: the operator's `on_error` then decides about the request.
#ifndef GATEWRIGHT_H
#define GATEWRIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

// Texts and bytes, with their length: no 0 at the end.
typedef plugin_string_t gw_text;
typedef plugin_list_u8_t gw_bytes;

// ------------------------------------------------------------------------------------------------------------- The plugin

typedef gatewright_plugin_types_decision_t gw_decision;
typedef gatewright_plugin_types_body_decision_t gw_body_decision;

// void gw_describe(gw_text *manifest): the manifest, as JSON: name, version, config-schema, metrics.
#define gw_describe exports_gatewright_plugin_lifecycle_describe
// bool gw_configure(gw_text *config, gw_text *error): once for each instance, before any hook; false refuses the
// configuration with the text in `error`, which is freed for you.
#define gw_configure exports_gatewright_plugin_lifecycle_configure
// void gw_on_request(bool end_of_stream, gw_decision *decision)
#define gw_on_request exports_gatewright_plugin_request_hook_on_request
// void gw_on_request_body(gw_bytes *chunk, bool end_of_stream, gw_body_decision *decision)
#define gw_on_request_body exports_gatewright_plugin_request_body_hook_on_request_body
// void gw_on_response(bool end_of_stream, gw_decision *decision)
#define gw_on_response exports_gatewright_plugin_response_hook_on_response
// void gw_on_response_body(gw_bytes *chunk, bool end_of_stream, gw_body_decision *decision)
#define gw_on_response_body exports_gatewright_plugin_response_body_hook_on_response_body
// void gw_on_complete(void)
#define gw_on_complete exports_gatewright_plugin_completion_hook_on_complete
// bool gw_on_tick(uint32_t *next_ms): returns false if it is not to be called again.
#define gw_on_tick exports_gatewright_plugin_background_on_tick

// --------------------------------------------------------------------------------------------------------------- Memory

// Allocates memory of this many bytes, uninitialised. free() it.
void *gw_alloc(size_t size);
// Resizes memory, like realloc().
void *gw_resize(void *memory, size_t size);
void gw_free(gw_text *text);
void gw_free_bytes(gw_bytes *bytes);

// Ends the hook as a failure, after a line in the log.
_Noreturn void gw_fail(const char *message);

// ---------------------------------------------------------------------------------------------------------------- Texts

// A text borrowed from a string that ends with a 0; no copy.
gw_text gw_lit(const char *text);
gw_text gw_copy(gw_text text);
bool gw_equal(gw_text one, gw_text other);
// Joins several texts into a new one: gw_join(2, (gw_text[]){a, b}).
gw_text gw_join(size_t count, const gw_text *parts);
// A number in decimal, as a new text.
gw_text gw_decimal(int64_t number);

// ------------------------------------------------------------------------------------------------------------ Decisions

typedef struct {
  const char *name;
  gw_text value;
} gw_field;

// Go on to the next plugin, with all changes made so far.
void gw_proceed(gw_decision *decision);
// Stop here and answer the client.
void gw_respond(gw_decision *decision, uint16_t status, size_t count, const gw_field *fields, gw_text body);
// Stop here and answer the client with a problem (RFC 9457), as the gateway itself does.
void gw_problem(gw_decision *decision, uint16_t status, const char *title, const char *detail);
// Stop here and reset the client's stream.
void gw_abort(gw_decision *decision);

// Send the chunk, and everything held so far, on unchanged.
void gw_pass(gw_body_decision *decision);
// Keep the chunk back; it is shown again, joined with the next chunk or with several.
void gw_hold(gw_body_decision *decision);
// Send these bytes instead of the chunk and everything held so far.
void gw_replace(gw_body_decision *decision, gw_bytes body);
void gw_respond_to_body(gw_body_decision *decision, uint16_t status, size_t count, const gw_field *fields, gw_text body);
void gw_abort_body(gw_body_decision *decision);

// ------------------------------------------------------------------------------- The exchange that the running hook is about

typedef gatewright_plugin_types_section_t gw_section;
#define GW_REQUEST GATEWRIGHT_PLUGIN_TYPES_SECTION_REQUEST_HEADERS
#define GW_RESPONSE GATEWRIGHT_PLUGIN_TYPES_SECTION_RESPONSE_HEADERS

gw_text gw_method(void);
gw_text gw_scheme(void);
gw_text gw_authority(void);
// The path with the query.
gw_text gw_path(void);
// 0 before there is a response.
uint16_t gw_status(void);

// The first value of a field; false, and an empty text, if there is none.
bool gw_header(gw_section section, const char *name, gw_text *value);
// An attribute of the exchange, such as "source.address" or "route.name"; false if it is not known.
bool gw_attribute(const char *name, gw_text *value);
// The authenticated caller; false if there is none. `claims` is a JSON object; pass NULL if you do not need it.
bool gw_identity(gw_text *subject, gw_text *claims);
// The bytes that this plugin keeps for this exchange, from one hook to the next.
gw_bytes gw_state(void);

// Changes. If the gateway refuses one, the result is not GW_OK, and nothing has changed.
typedef enum {
  GW_OK,
  // Not a valid name, value, method, path or status.
  GW_INVALID_SYNTAX,
  // A name reserved for the gateway.
  GW_FORBIDDEN,
  GW_LIMIT_EXCEEDED,
  // Too late or too early in the exchange.
  GW_WRONG_PHASE,
  GW_NOT_GRANTED,
  GW_OTHER,
} gw_result;

gw_result gw_set_header(gw_section section, const char *name, gw_text value);
gw_result gw_append_header(gw_section section, const char *name, gw_text value);
gw_result gw_remove_header(gw_section section, const char *name);
gw_result gw_set_method(gw_text method);
gw_result gw_set_authority(gw_text authority);
gw_result gw_set_path(gw_text path);
gw_result gw_set_status(uint16_t status);
// Sends the request to another upstream of the route.
gw_result gw_set_upstream(gw_text name);
// Sets plugin.<this plugin>.<name>, for later plugins and the access log.
gw_result gw_set_attribute(const char *name, gw_text value);
// `claims` is a JSON object.
gw_result gw_set_identity(gw_text subject, gw_text claims);
gw_result gw_set_state(gw_bytes state);

typedef enum { GW_SKIP, GW_WHOLE, GW_CHUNKS } gw_body_mode;
// Asks for the body of the request or the response.
gw_result gw_read_body(gw_section of, gw_body_mode mode);

// ------------------------------------------------------------------------------------------------------------------ JSON

// Read access to valid JSON such as a configuration, which the gateway has checked against the manifest's
// config-schema. Values are slices of the text that they are part of, as written: a string includes its quotation
// marks.

// The member of an object; false if it is not there.
bool gw_json_member(gw_text object, const char *name, gw_text *value);
// The next member of an object, or the next element of an array (whose `key` is empty). `*at` begins as NULL. False
// after the last one.
bool gw_json_next(gw_text container, const uint8_t **at, gw_text *key, gw_text *value);
bool gw_json_is_text(gw_text value);
// A string without its quotation marks and escapes, as a new text.
gw_text gw_json_text(gw_text value);
// A whole number; a fraction is cut off.
int64_t gw_json_number(gw_text value);
bool gw_json_is_true(gw_text value);
// A text as a JSON string, with its quotation marks, as a new text.
gw_text gw_json_quoted(gw_text text);

// --------------------------------------------------------------------------------------------------- What the gateway lends

typedef enum { GW_TRACE, GW_DEBUG, GW_INFO, GW_WARN, GW_ERROR } gw_level;
// Whether a line of this level would be kept.
bool gw_log_enabled(gw_level level);
// Writes a line to the plugin's log.
void gw_log(gw_level level, gw_text message);

// Memory shared by all instances of the plugin in one gateway. A `ttl_ms` of 0 never expires.
bool gw_store_get(gw_text key, gw_bytes *value);
// False if the store is full, or the value too large.
bool gw_store_set(gw_text key, gw_bytes value, uint32_t ttl_ms);
// False if there was nothing to remove.
bool gw_store_remove(gw_text key);
// Adds to a counter, atomically for all instances. A missing key counts as 0; `ttl_ms` is set when the counter is
// created. False if the store is full, or the value there is not a counter.
bool gw_store_increment(gw_text key, int64_t delta, uint32_t ttl_ms, int64_t *count);

// A call to an upstream that the operator granted. It looks blocking; the gateway runs other work meanwhile.
typedef struct {
  // A name that the operator granted, never an address.
  const char *upstream;
  const char *method;
  gw_text path;
  size_t count;
  const gw_field *fields;
  gw_text body;
  // 0 means the operator's limit.
  uint32_t timeout_ms;
} gw_call;

typedef struct {
  uint16_t status;
  gw_text body;
} gw_answer;

// False if there is no response (refused, timed out, too large, not granted), and then there is nothing to free;
// otherwise gw_free the body.
bool gw_send(const gw_call *call, gw_answer *answer);

// Takes one from the bucket of a key, `requests` for each `per_ms`; false if it is empty, and `retry_after_ms` is set.
bool gw_take(gw_text key, uint32_t requests, uint32_t per_ms, uint32_t *retry_after_ms);
// Adds to a counter without labels that the manifest declares.
void gw_count(const char *metric, uint64_t delta);
// Milliseconds since 1970 (UTC).
uint64_t gw_now_ms(void);

#endif
