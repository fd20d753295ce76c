// The manifest of a snapshot: manifest.json beside the files that a backend has saved. It says what
// the snapshot depends on, so that a restore that cannot work is refused with the difference and
// not found out by a guest that behaves oddly.
#pragma once
#include "attest/config.h"
#include "lib/base/checksum.h"
#include "lib/net/plan.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace attest::core {

/// A file, by the name under which messages show it.
using Identities = std::map<std::string, base::FileIdentity>;

/// Everything in a manifest.json; docs/snapshots.md describes it for people.
struct Manifest {
  std::string machine;  ///< whose it was
  std::string backend;  ///< "firecracker"
  std::string monitor;  ///< "Firecracker 1.16.1"
  std::string format;   ///< of the monitor's snapshots
  std::string cpu;      ///< the CPU that the guest saw
  int memory_mb = 0;
  int vcpus = 0;
  std::string saved_at;        ///< "2026-11-23T18:30:00Z"
  Ready ready = Ready::agent;  ///< as far as the guest had come
  std::vector<net::Nic> nics;
  std::string seed;     ///< checksum of the files that told it its name and network
  Identities programs;  ///< "binary", "kernel"
  Identities disks;     ///< read-only images by their paths: they must be there at a restore
  Identities files;     ///< what is in the directory, by name
  bool operator==(const Manifest&) const = default;
};

/// The name of the file.
inline constexpr std::string_view manifest_name = "manifest.json";

/// As indented JSON.
std::string to_json(const Manifest& manifest);

/// Reads the text of the manifest in `dir`, which messages name. Throws Error{usage} for text that
/// is none, saying what is wrong with it.
Manifest parse_manifest(std::string_view text, const std::string& dir);

/// What is different between a snapshot and the machine that is to be restored from it, as it would
/// run now: one sentence each; empty if it fits. `files` and what a clone has of its own (name,
/// addresses) are not compared. Pure.
std::vector<std::string> differences(const Manifest& saved, const Manifest& now);

}  // namespace attest::core
