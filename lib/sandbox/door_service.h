// The doorman's side of the door: what it does for a request, and serving requests in worker
// processes, so that a slow name server delays nobody else.
#pragma once
#include "lib/base/fd.h"
#include "lib/sandbox/door_codec.h"

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace attest::sandbox {

/// Does what `request` asks, in the network namespace of the calling process; blocks up to the
/// request's timeout (name resolution is not cut by it). Throws Error{host} saying what was
/// attempted, on which addresses, and what came. What a command outlives least is the process
/// `owner`. Safe in a process with threads.
std::pair<base::Fd, DoorReply> perform(const DoorRequest& request, pid_t owner = ::getpid());

/// Takes one packet from `door` and forks a worker that answers it on the socket that came with
/// it. False at the end of the stream. What is malformed is dropped: its sender sees the end of
/// its answer socket. The caller reaps.
bool serve_one(int door);

}  // namespace attest::sandbox
