#include "tests/sims/guest_files.h"

#include "backends/image/seed.h"
#include "lib/base/file.h"
#include "lib/guest/agent_binary.h"

namespace attest::sims {

image::Image default_image(const std::string& backend) { return image::find_image("", backend); }

void write_initrd(const image::Image& image, const std::filesystem::path& file) {
  base::write_file(
      file, image::append_seed(
                base::read_file(image.initrd),
                {image::agent_seed(guest::agent_binary()),
                 {"/etc/udev/rules.d/60-input-id.rules",
                  "SUBSYSTEM==\"input\", ENV{ID_INPUT}==\"\", IMPORT{builtin}=\"input_id\"\n"}}));
}

}  // namespace attest::sims
