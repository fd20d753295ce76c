// The default guest for tests of stand-ins: its files, and an initrd that brings the agent.
#pragma once
#include "backends/image/image.h"

#include <filesystem>

namespace attest::sims {

/// The default image, for the backend of that name. Throws Error{usage} with the way to build it.
image::Image default_image(const std::string& backend);
/// Writes the image's initrd with attest-agent, and what lets logind see an ACPI power button, to
/// `file`.
void write_initrd(const image::Image& image, const std::filesystem::path& file);

}  // namespace attest::sims
