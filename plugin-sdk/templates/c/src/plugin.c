// A door: only requests that know the word are let in.
#include "gatewright.h"

static gw_text word;

// Describes the plugin; `config-schema` says what the operator writes, and the gateway checks it.
void gw_describe(gw_text *manifest) {
  *manifest = gw_copy(gw_lit(
      "{\"name\":\"my-plugin\",\"version\":\"0.1.0\",\"config-schema\":{\"type\":\"object\",\"required\":[\"word\"],"
      "\"additionalProperties\":false,\"properties\":{\"word\":{\"type\":\"string\","
      "\"description\":\"The value of `x-word` that opens the door.\"}}}}"));
}

// Runs once for each instance: compute everything that depends only on the configuration here.
bool gw_configure(gw_text *config, gw_text *error) {
  gw_text value;
  if (gw_json_member(*config, "word", &value)) word = gw_json_text(value);
  gw_free(config);
  if (word.len == 0) {
    *error = gw_copy(gw_lit("word: an empty word would open the door to everybody"));
    return false;
  }
  return true;
}

// Runs for each request.
void gw_on_request(bool end_of_stream, gw_decision *decision) {
  (void)end_of_stream;
  gw_text said;
  bool is_open = gw_header(GW_REQUEST, "x-word", &said) && gw_equal(said, word);
  gw_free(&said);
  if (!is_open) {
    gw_problem(decision, 403, "Forbidden", "the door stays shut");
    return;
  }
  // Hide the word from the servers behind the gateway.
  gw_remove_header(GW_REQUEST, "x-word");
  gw_set_header(GW_REQUEST, "x-door", gw_lit("open"));
  gw_proceed(decision);
}
