/* support.h must be plain C. */
#include "support.h"

int ts_header_check(void);

int ts_header_check(void) { return TS_BOTH - TS_TO_SERVER - TS_TO_CLIENT; }
