// Names and sentences of the statuses.
#ifndef PULSE_BASE_STATUS_H
#define PULSE_BASE_STATUS_H

#include <cstddef>

#include "pulseengine/status.h"

namespace pulseengine {

const char* status_name(pulse_status status);
const char* status_message(pulse_status status);
bool status_at(size_t index, pulse_status* status);  // false past the end

}  // namespace pulseengine

#endif
