// The console's way from the monitor to us, and the memory's file: what is made of both in the work
// directory.
#pragma once
#include "backends/microvm/monitor_process.h"
#include "lib/base/fd.h"

#include <filesystem>
#include <memory>
#include <string>

namespace attest::cloud_hypervisor {

/// Makes a FIFO and opens it for reading, so that the monitor can open it for writing. Throws
/// Error{host}.
base::Fd make_fifo(const std::filesystem::path& path);
/// What comes out of a FIFO that the monitor has opened.
std::unique_ptr<Stream> open_fifo(asio::any_io_executor loop, const base::Fd& fifo);
/// A console of a guest that may restart in place, at which the monitor opens the FIFO, or (without
/// one) makes the socket, anew. It ends when the process does.
std::shared_ptr<Stream> restarting_console(asio::any_io_executor loop,
                                           std::unique_ptr<Stream> first,
                                           std::shared_ptr<microvm::MonitorProcess> process,
                                           base::Fd fifo, std::string socket);

/// A file with holes only. Throws Error{host}.
void make_memory_file(const std::filesystem::path& path, int size_mb);

}  // namespace attest::cloud_hypervisor
