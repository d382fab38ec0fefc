#include "result.h"

namespace bench {

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::met:
      return "met";
    case Verdict::marginal:
      return "marginal";
    case Verdict::missed:
      return "missed";
    case Verdict::reported:
      break;
  }
  return "reported";
}

}  // namespace bench
