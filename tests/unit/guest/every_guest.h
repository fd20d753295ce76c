// The guests that "what every guest does" is tested on.
#pragma once
#include "tests/unit/shell/peer.h"

namespace attest::guest {

inline const PeerKind every_guest[] = {{"agent", "bash", false, "", true},
                                       {"bash_pty", "bash", true},
                                       {"dash", "dash"},
                                       {"busybox_pty", "busybox sh", true}};

class EveryGuest : public ::testing::TestWithParam<PeerKind> {
 protected:
  Peer peer{GetParam()};
};

}  // namespace attest::guest
