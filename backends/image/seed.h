// Seed files (hostname, hosts, addresses, the config's files) as a cpio archive that is appended
// to an image's initrd: the kernel unpacks both, and the image's init copies them into the root.
#pragma once
#include "attest/backend.h"

#include <string>
#include <string_view>
#include <vector>

namespace attest::image {

/// The files below /attest/seed as a "newc" cpio archive, parent directories (0755) included,
/// owned by root. Pure; the same files give the same bytes. Throws Error{usage} for a path that is
/// not absolute or that has a '..' in it.
std::string seed_archive(const std::vector<SeedFile>& files);

/// attest-agent as a seed file, where an image with the channel "agent" starts it from. It comes
/// from the library and not with the image, so the two always fit.
SeedFile agent_seed(std::string_view program);

/// `initrd` with the archive behind it, aligned as the kernel wants it.
std::string append_seed(std::string initrd, const std::vector<SeedFile>& files);

}  // namespace attest::image
