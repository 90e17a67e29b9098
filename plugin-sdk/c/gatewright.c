// The glue between gatewright.h and the bindings in plugin.h.
#include "gatewright.h"

#include <stdlib.h>
#include <string.h>

// --------------------------------------------------------------------------------------------------------------- Memory

void *gw_alloc(size_t size) { return gw_resize(NULL, size); }

void *gw_resize(void *memory, size_t size) {
  void *resized = realloc(memory, size ? size : 1);
  // Address 0 can be written to in WebAssembly: a NULL would go unnoticed.
  if (!resized) __builtin_trap();
  return resized;
}

// An empty text has no memory: the pointer of an empty text from the gateway is not an address.
void gw_free(gw_text *text) {
  if (text->len > 0) free(text->ptr);
  *text = (gw_text){NULL, 0};
}

void gw_free_bytes(gw_bytes *bytes) {
  if (bytes->len > 0) free(bytes->ptr);
  *bytes = (gw_bytes){NULL, 0};
}

void gw_fail(const char *message) {
  gw_log(GW_ERROR, gw_lit(message));
  __builtin_trap();
}

// ---------------------------------------------------------------------------------------------------------------- Texts

gw_text gw_lit(const char *text) { return (gw_text){(uint8_t *)text, strlen(text)}; }

gw_text gw_copy(gw_text text) { return gw_join(1, &text); }

bool gw_equal(gw_text one, gw_text other) {
  return one.len == other.len && (one.len == 0 || memcmp(one.ptr, other.ptr, one.len) == 0);
}

gw_text gw_join(size_t count, const gw_text *parts) {
  size_t len = 0;
  for (size_t i = 0; i < count; i++) len += parts[i].len;
  gw_text joined = {len > 0 ? gw_alloc(len) : NULL, 0};
  for (size_t i = 0; i < count; i++) {
    if (parts[i].len > 0) memcpy(joined.ptr + joined.len, parts[i].ptr, parts[i].len);
    joined.len += parts[i].len;
  }
  return joined;
}

gw_text gw_decimal(int64_t number) {
  uint8_t digits[20];
  size_t at = sizeof digits;
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do {
    digits[--at] = (uint8_t)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (number < 0) digits[--at] = '-';
  return gw_copy((gw_text){digits + at, sizeof digits - at});
}

// ------------------------------------------------------------------------------------------------------------ Decisions

static gw_bytes as_bytes(gw_text text) { return (gw_bytes){text.ptr, text.len}; }

static void respond(gatewright_plugin_types_local_response_t *response, uint16_t status, size_t count,
                    const gw_field *fields, gw_text body) {
  response->status = status;
  response->headers.ptr = count > 0 ? gw_alloc(count * sizeof *response->headers.ptr) : NULL;
  response->headers.len = count;
  for (size_t i = 0; i < count; i++) {
    response->headers.ptr[i].f0 = gw_copy(gw_lit(fields[i].name));
    response->headers.ptr[i].f1 = gw_copy(fields[i].value);
  }
  response->body = as_bytes(gw_copy(body));
}

void gw_proceed(gw_decision *decision) { decision->tag = GATEWRIGHT_PLUGIN_TYPES_DECISION_PROCEED; }

void gw_respond(gw_decision *decision, uint16_t status, size_t count, const gw_field *fields, gw_text body) {
  decision->tag = GATEWRIGHT_PLUGIN_TYPES_DECISION_RESPOND;
  respond(&decision->val.respond, status, count, fields, body);
}

void gw_problem(gw_decision *decision, uint16_t status, const char *title, const char *detail) {
  gw_text of_status = gw_decimal(status), of_title = gw_json_quoted(gw_lit(title)), of_detail = gw_json_quoted(gw_lit(detail));
  gw_text parts[] = {gw_lit("{\"type\":\"about:blank\",\"title\":"), of_title, gw_lit(",\"status\":"), of_status,
                     gw_lit(",\"detail\":"), of_detail, gw_lit("}")};
  gw_text body = gw_join(sizeof parts / sizeof *parts, parts);
  gw_respond(decision, status, 1, &(gw_field){"content-type", gw_lit("application/problem+json")}, body);
  gw_free(&body), gw_free(&of_status), gw_free(&of_title), gw_free(&of_detail);
}

void gw_abort(gw_decision *decision) { decision->tag = GATEWRIGHT_PLUGIN_TYPES_DECISION_ABORT; }

void gw_pass(gw_body_decision *decision) { decision->tag = GATEWRIGHT_PLUGIN_TYPES_BODY_DECISION_PASS; }

void gw_hold(gw_body_decision *decision) { decision->tag = GATEWRIGHT_PLUGIN_TYPES_BODY_DECISION_HOLD; }

void gw_replace(gw_body_decision *decision, gw_bytes body) {
  decision->tag = GATEWRIGHT_PLUGIN_TYPES_BODY_DECISION_REPLACE;
  decision->val.replace = as_bytes(gw_copy((gw_text){body.ptr, body.len}));
}

void gw_respond_to_body(gw_body_decision *decision, uint16_t status, size_t count, const gw_field *fields, gw_text body) {
  decision->tag = GATEWRIGHT_PLUGIN_TYPES_BODY_DECISION_RESPOND;
  respond(&decision->val.respond, status, count, fields, body);
}

void gw_abort_body(gw_body_decision *decision) { decision->tag = GATEWRIGHT_PLUGIN_TYPES_BODY_DECISION_ABORT; }

// ------------------------------------------------------------------------------------------------------------ The exchange

#define GOT(function)                         \
  gw_text text;                               \
  gatewright_plugin_exchange_##function(&text); \
  return text

gw_text gw_method(void) { GOT(method); }
gw_text gw_scheme(void) { GOT(scheme); }
gw_text gw_authority(void) { GOT(authority); }
gw_text gw_path(void) { GOT(path); }
uint16_t gw_status(void) { return gatewright_plugin_exchange_status(); }

bool gw_header(gw_section section, const char *name, gw_text *value) {
  gw_text of = gw_lit(name);
  *value = (gw_text){NULL, 0};
  return gatewright_plugin_exchange_header(section, &of, value);
}

bool gw_attribute(const char *name, gw_text *value) {
  gw_text of = gw_lit(name);
  *value = (gw_text){NULL, 0};
  return gatewright_plugin_exchange_attribute(&of, value);
}

bool gw_identity(gw_text *subject, gw_text *claims) {
  gatewright_plugin_exchange_caller_t caller = {0};
  bool is_proved = gatewright_plugin_exchange_identity(&caller);
  *subject = caller.subject;
  if (claims) {
    *claims = caller.claims;
  } else {
    gw_free(&caller.claims);
  }
  return is_proved;
}

gw_bytes gw_state(void) {
  gw_bytes state;
  gatewright_plugin_exchange_state(&state);
  return state;
}

// The tags of the contract, plus one.
static gw_result changed(bool made, gatewright_plugin_types_mutate_error_t *error) {
  if (made) return GW_OK;
  gw_result result = (gw_result)(error->tag + 1);
  gatewright_plugin_types_mutate_error_free(error);
  return result;
}

#define CHANGED(function, ...)                    \
  gatewright_plugin_types_mutate_error_t refused; \
  return changed(gatewright_plugin_exchange_##function(__VA_ARGS__, &refused), &refused)

gw_result gw_set_header(gw_section section, const char *name, gw_text value) {
  gw_text of = gw_lit(name);
  CHANGED(set_header, section, &of, &value);
}

gw_result gw_append_header(gw_section section, const char *name, gw_text value) {
  gw_text of = gw_lit(name);
  CHANGED(append_header, section, &of, &value);
}

gw_result gw_remove_header(gw_section section, const char *name) {
  gw_text of = gw_lit(name);
  CHANGED(remove_header, section, &of);
}

gw_result gw_set_method(gw_text method) { CHANGED(set_method, &method); }
gw_result gw_set_authority(gw_text authority) { CHANGED(set_authority, &authority); }
gw_result gw_set_path(gw_text path) { CHANGED(set_path, &path); }
gw_result gw_set_status(uint16_t status) { CHANGED(set_status, status); }
gw_result gw_set_upstream(gw_text name) { CHANGED(set_upstream, &name); }

gw_result gw_set_attribute(const char *name, gw_text value) {
  gw_text of = gw_lit(name);
  CHANGED(set_attribute, &of, &value);
}

gw_result gw_set_identity(gw_text subject, gw_text claims) {
  gatewright_plugin_exchange_caller_t caller = {subject, claims};
  CHANGED(set_identity, &caller);
}

gw_result gw_set_state(gw_bytes state) { CHANGED(set_state, &state); }

gw_result gw_read_body(gw_section of, gw_body_mode mode) {
  bool is_request = of == GW_REQUEST;
  CHANGED(set_body_mode,
          is_request ? GATEWRIGHT_PLUGIN_TYPES_DIRECTION_REQUEST : GATEWRIGHT_PLUGIN_TYPES_DIRECTION_RESPONSE,
          (gatewright_plugin_types_body_mode_t)mode);
}

// ------------------------------------------------------------------------------------------------------------------ JSON

static bool is_one_of(uint8_t byte, const char *bytes) { return byte && strchr(bytes, byte); }

static const uint8_t *skip_blanks(const uint8_t *at, const uint8_t *end) {
  while (at < end && is_one_of(*at, " \t\r\n,:")) at++;
  return at;
}

// Returns the end of the value that begins here; NULL if there is no value, or the text ends within it.
static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end) {
  size_t depth = 0;
  do {
    at = skip_blanks(at, end);
    if (at == end) return NULL;
    if (*at == '"') {
      for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') at++;
      }
      if (at >= end) return NULL;
      at++;
    } else if (is_one_of(*at, "{[")) {
      depth++;
      at++;
    } else if (is_one_of(*at, "}]")) {
      if (depth == 0) return NULL;
      depth--;
      at++;
    } else {
      while (at < end && !is_one_of(*at, " \t\r\n,:]}")) at++;
    }
  } while (depth > 0);
  return at;
}

static gw_text between(const uint8_t *from, const uint8_t *to) { return (gw_text){(uint8_t *)from, (size_t)(to - from)}; }

bool gw_json_next(gw_text container, const uint8_t **at, gw_text *key, gw_text *value) {
  const uint8_t *end = container.ptr + container.len, *first = skip_blanks(container.ptr, end);
  if (first == end || !is_one_of(*first, "{[")) return false;
  bool is_object = *first == '{';
  const uint8_t *from = skip_blanks(*at ? *at : first + 1, end), *to = skip_value(from, end);
  if (!to) return false;
  *key = (gw_text){NULL, 0};
  if (is_object) {
    if (*from != '"') return false;
    *key = between(from, to);
    from = skip_blanks(to, end);
    to = skip_value(from, end);
    if (!to) return false;
  }
  *value = between(from, to);
  *at = to;
  return true;
}

bool gw_json_member(gw_text object, const char *name, gw_text *value) {
  const uint8_t *at = NULL;
  gw_text key;
  while (gw_json_next(object, &at, &key, value)) {
    if (key.len < 2) return false;
    // Most keys are written without escapes, so there is nothing to copy.
    if (!memchr(key.ptr, '\\', key.len)) {
      if (gw_equal((gw_text){key.ptr + 1, key.len - 2}, gw_lit(name))) return true;
      continue;
    }
    gw_text plain = gw_json_text(key);
    bool is_it = gw_equal(plain, gw_lit(name));
    gw_free(&plain);
    if (is_it) return true;
  }
  return false;
}

bool gw_json_is_text(gw_text value) { return value.len >= 2 && value.ptr[0] == '"'; }

static uint32_t hexadecimal(const uint8_t *digits) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; i++) {
    uint8_t digit = digits[i] | 0x20;
    number = number << 4 | (uint32_t)(digit >= 'a' ? digit - 'a' + 10 : digits[i] - '0');
  }
  return number;
}

static size_t put_utf8(uint8_t *to, uint32_t code) {
  if (code < 0x80) return to[0] = (uint8_t)code, 1;
  if (code < 0x800) return to[0] = (uint8_t)(0xc0 | code >> 6), to[1] = (uint8_t)(0x80 | (code & 0x3f)), 2;
  size_t len = code < 0x10000 ? 3 : 4;
  for (size_t i = len - 1; i > 0; i--, code >>= 6) to[i] = (uint8_t)(0x80 | (code & 0x3f));
  to[0] = (uint8_t)((len == 3 ? 0xe0 : 0xf0) | code);
  return len;
}

gw_text gw_json_text(gw_text value) {
  gw_text text = {NULL, 0};
  if (!gw_json_is_text(value) || value.len == 2) return text;
  // No escape is shorter than what it stands for, so this is enough.
  text.ptr = gw_alloc(value.len);
  const uint8_t *at = value.ptr + 1, *end = value.ptr + value.len - 1;
  while (at < end) {
    if (*at != '\\' || end - at < 2) {
      text.ptr[text.len++] = *at++;
    } else if (at[1] != 'u' || end - at < 6) {
      static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
      const char *known = is_one_of(at[1], from) ? strchr(from, at[1]) : NULL;
      text.ptr[text.len++] = known ? (uint8_t)to[known - from] : at[1];
      at += 2;
    } else {
      uint32_t code = hexadecimal(at + 2);
      at += 6;
      bool is_pair = code >= 0xd800 && code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u';
      uint32_t low = is_pair ? hexadecimal(at + 2) : 0;
      if (is_pair && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
      } else if (code >= 0xd800 && code < 0xe000) {
        // A lone surrogate is not a character.
        code = 0xfffd;
      }
      text.len += put_utf8(text.ptr + text.len, code);
    }
  }
  return text;
}

int64_t gw_json_number(gw_text value) {
  bool is_negative = value.len > 0 && value.ptr[0] == '-';
  uint64_t number = 0;
  for (size_t i = is_negative; i < value.len && value.ptr[i] >= '0' && value.ptr[i] <= '9'; i++) {
    number = number * 10 + (uint64_t)(value.ptr[i] - '0');
  }
  return is_negative ? -(int64_t)number : (int64_t)number;
}

bool gw_json_is_true(gw_text value) { return gw_equal(value, gw_lit("true")); }

gw_text gw_json_quoted(gw_text text) {
  static const char digits[] = "0123456789abcdef";
  gw_text quoted = {gw_alloc(6 * text.len + 2), 0};
  quoted.ptr[quoted.len++] = '"';
  for (size_t i = 0; i < text.len; i++) {
    uint8_t byte = text.ptr[i];
    if (byte < 0x20) {
      memcpy(quoted.ptr + quoted.len, "\\u00", 4);
      quoted.ptr[quoted.len + 4] = (uint8_t)digits[byte >> 4];
      quoted.ptr[quoted.len + 5] = (uint8_t)digits[byte & 15];
      quoted.len += 6;
      continue;
    }
    if (byte == '"' || byte == '\\') quoted.ptr[quoted.len++] = '\\';
    quoted.ptr[quoted.len++] = byte;
  }
  quoted.ptr[quoted.len++] = '"';
  return quoted;
}

// --------------------------------------------------------------------------------------------------- What the gateway lends

bool gw_log_enabled(gw_level level) { return gatewright_plugin_log_enabled((gatewright_plugin_log_level_t)level); }

void gw_log(gw_level level, gw_text message) {
  plugin_list_tuple2_string_string_t none = {NULL, 0};
  gatewright_plugin_log_write((gatewright_plugin_log_level_t)level, &message, &none);
}

static bool stored(bool done, gatewright_plugin_shared_store_store_error_t *error) {
  if (!done) gatewright_plugin_shared_store_store_error_free(error);
  return done;
}

bool gw_store_get(gw_text key, gw_bytes *value) {
  gatewright_plugin_shared_store_entry_t entry = {0};
  bool is_there = gatewright_plugin_shared_store_get(&key, &entry);
  *value = entry.value;
  return is_there;
}

bool gw_store_set(gw_text key, gw_bytes value, uint32_t ttl_ms) {
  uint64_t version;
  gatewright_plugin_shared_store_store_error_t error;
  return stored(gatewright_plugin_shared_store_set(&key, &value, ttl_ms ? &ttl_ms : NULL, &version, &error), &error);
}

bool gw_store_remove(gw_text key) { return gatewright_plugin_shared_store_remove(&key); }

bool gw_store_increment(gw_text key, int64_t delta, uint32_t ttl_ms, int64_t *count) {
  gatewright_plugin_shared_store_store_error_t error;
  return stored(gatewright_plugin_shared_store_increment(&key, delta, ttl_ms ? &ttl_ms : NULL, count, &error), &error);
}

bool gw_send(const gw_call *call, gw_answer *answer) {
  plugin_tuple2_string_string_t *fields = gw_alloc(call->count * sizeof *fields);
  for (size_t i = 0; i < call->count; i++) {
    fields[i] = (plugin_tuple2_string_string_t){gw_lit(call->fields[i].name), call->fields[i].value};
  }
  gatewright_plugin_http_client_request_t request = {
      .upstream = gw_lit(call->upstream),
      .method = gw_lit(call->method ? call->method : "GET"),
      .path = call->path,
      .headers = {fields, call->count},
      .body = as_bytes(call->body),
      .timeout_ms = call->timeout_ms,
  };
  gatewright_plugin_http_client_response_t response;
  gatewright_plugin_http_client_call_error_t error;
  bool is_answered = gatewright_plugin_http_client_send(&request, &response, &error);
  free(fields);
  if (!is_answered) {
    gatewright_plugin_http_client_call_error_free(&error);
    *answer = (gw_answer){0};
    return false;
  }
  // The caller owns the body from here on; the rest is freed.
  *answer = (gw_answer){response.status, {response.body.ptr, response.body.len}};
  response.body = (gw_bytes){NULL, 0};
  gatewright_plugin_http_client_response_free(&response);
  return true;
}

bool gw_take(gw_text key, uint32_t requests, uint32_t per_ms, uint32_t *retry_after_ms) {
  gatewright_plugin_rate_limit_quota_t quota = {requests, per_ms, 0};
  gatewright_plugin_rate_limit_outcome_t outcome;
  gatewright_plugin_rate_limit_take(&key, &quota, 1, &outcome);
  *retry_after_ms = outcome.retry_after_ms;
  return outcome.allowed;
}

void gw_count(const char *metric, uint64_t delta) {
  gw_text name = gw_lit(metric);
  plugin_list_string_t none = {NULL, 0};
  gatewright_plugin_metrics_count(&name, &none, delta);
}

uint64_t gw_now_ms(void) {
  gatewright_plugin_clock_timestamp_t now;
  gatewright_plugin_clock_now(&now);
  return now.seconds * 1000 + now.nanoseconds / 1000000;
}
