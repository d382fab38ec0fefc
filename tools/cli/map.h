// What the verbs of maps have in common: their options, and how states and values look in JSON.
#ifndef TOOLS_CLI_MAP_H
#define TOOLS_CLI_MAP_H

#include <pulseengine/pulse.h>

#include <string>
#include <vector>

#include "output.h"
#include "verbs.h"

namespace cli {

pulse_map_options map_options(const MapArguments& arguments);

// "synced", "stale" ...
const char* map_state_name(pulse_map_state state);

// "disconnected", "missed" ..., or null for none.
Json map_reason_json(pulse_map_reason reason);

// The items of a list value as "values", or "values_base64" if one of them is no UTF-8.
void put_list(Json* json, const pulse_list* list);

}  // namespace cli

#endif
