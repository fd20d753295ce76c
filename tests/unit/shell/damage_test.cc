#include "tests/unit/shell/peer.h"
