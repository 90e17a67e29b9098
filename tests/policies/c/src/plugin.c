// The policy of tests/policies, in C.
#include "gatewright.h"

typedef struct {
  gw_text key, user;
} owner;

static owner *owners;
static size_t owner_count;
static int64_t per_minute;

void gw_describe(gw_text *manifest) {
  *manifest = gw_copy(gw_lit(
      "{\"name\":\"policy\",\"version\":\"1.0.0\",\"config-schema\":{\"type\":\"object\",\"required\":[\"keys\",\"per_minute\"],"
      "\"additionalProperties\":false,\"properties\":{\"keys\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"
      "\"per_minute\":{\"type\":\"integer\",\"minimum\":1}}}}"));
}

bool gw_configure(gw_text *config, gw_text *error) {
  (void)error;
  gw_text keys, limit, key, user;
  const uint8_t *at = NULL;
  if (gw_json_member(*config, "keys", &keys)) {
    while (gw_json_next(keys, &at, &key, &user)) {
      owners = gw_resize(owners, (owner_count + 1) * sizeof *owners);
      owners[owner_count++] = (owner){gw_json_text(key), gw_json_text(user)};
    }
  }
  if (gw_json_member(*config, "per_minute", &limit)) per_minute = gw_json_number(limit);
  gw_free(config);
  return true;
}

// Who is calling; false where nobody knows.
static bool caller(gw_text *user) {
  if (gw_identity(user, NULL)) return true;
  gw_text key;
  bool is_known = false;
  if (gw_header(GW_REQUEST, "x-api-key", &key)) {
    for (size_t i = 0; i < owner_count && !is_known; i++) {
      if (gw_equal(owners[i].key, key)) {
        *user = gw_copy(owners[i].user);
        is_known = true;
      }
    }
  }
  gw_free(&key);
  return is_known;
}

// The caller's tier; false where it cannot be asked for.
static bool tier_of(gw_text user, gw_text *tier) {
  gw_text plan, value, path = gw_join(2, (gw_text[]){gw_lit("/users/"), user});
  if (!gw_header(GW_REQUEST, "x-plan", &plan)) plan = gw_copy(gw_lit("free"));
  gw_answer answer;
  bool is_answered = gw_send(
      &(gw_call){.upstream = "profiles", .path = path, .count = 1, .fields = &(gw_field){"x-plan", plan}}, &answer);
  gw_free(&plan), gw_free(&path);
  bool is_known = true;
  if (is_answered && answer.status == 404) {
    *tier = gw_copy(gw_lit("none"));
  } else if (is_answered && answer.status == 200 && gw_json_member(answer.body, "tier", &value) &&
             gw_json_is_text(value)) {
    *tier = gw_json_text(value);
  } else {
    is_known = false;
  }
  gw_free(&answer.body);
  return is_known;
}

static bool change(gw_text user, gw_text tier, int64_t left) {
  gw_text remaining = gw_decimal(left), quoted = gw_json_quoted(tier);
  gw_text claims = gw_join(3, (gw_text[]){gw_lit("{\"tier\":"), quoted, gw_lit("}")});
  bool is_made = gw_remove_header(GW_REQUEST, "x-api-key") == GW_OK && gw_set_header(GW_REQUEST, "x-user", user) == GW_OK &&
                 gw_set_header(GW_REQUEST, "x-tier", tier) == GW_OK &&
                 gw_set_header(GW_RESPONSE, "x-remaining", remaining) == GW_OK && gw_set_identity(user, claims) == GW_OK &&
                 gw_set_attribute("tier", tier) == GW_OK;
  gw_free(&remaining), gw_free(&quoted), gw_free(&claims);
  return is_made;
}

static void refuse(gw_decision *decision, uint16_t status, const char *body, const char *name, const char *value) {
  gw_field fields[] = {{"content-type", gw_lit("application/json")}, {name, gw_lit(value)}};
  gw_respond(decision, status, name[0] ? 2 : 1, fields, gw_lit(body));
}

void gw_on_request(bool end_of_stream, gw_decision *decision) {
  (void)end_of_stream;
  gw_text user, tier;
  if (!caller(&user)) {
    refuse(decision, 401, "{\"error\":\"who are you?\"}", "www-authenticate", "Key");
    return;
  }
  gw_text counter = gw_join(2, (gw_text[]){gw_lit("seen:"), user});
  int64_t count = 0;
  bool is_counted = gw_store_increment(counter, 1, 60000, &count);
  gw_free(&counter);
  if (is_counted && count > per_minute) {
    refuse(decision, 429, "{\"error\":\"too many requests\"}", "retry-after", "60");
  } else if (!is_counted || !tier_of(user, &tier)) {
    refuse(decision, 503, "{\"error\":\"try again later\"}", "", "");
  } else {
    if (change(user, tier, per_minute - count)) {
      gw_proceed(decision);
    } else {
      refuse(decision, 503, "{\"error\":\"try again later\"}", "", "");
    }
    gw_free(&tier);
  }
  gw_free(&user);
}
