// Does nothing, in C.
#include "gatewright.h"

void gw_describe(gw_text *manifest) { *manifest = gw_copy(gw_lit("{\"name\":\"no-op\",\"version\":\"1.0.0\"}")); }

bool gw_configure(gw_text *config, gw_text *error) {
  (void)error;
  gw_free(config);
  return true;
}

void gw_on_request(bool end_of_stream, gw_decision *decision) {
  (void)end_of_stream;
  gw_proceed(decision);
}
