#include "tests/sims/cloud_hypervisor/events.h"

#include <unistd.h>

namespace attest::sims::cloud_hypervisor {

void Events::tell(const std::string& source, const std::string& event, json properties) {
  if (!to_) return;
  using namespace std::chrono;
  auto since = steady_clock::now() - begin_;
  nlohmann::ordered_json object{
      {"timestamp",
       {{"secs", duration_cast<seconds>(since).count()}, {"nanos", (since % seconds(1)).count()}}},
      {"source", source},
      {"event", event},
      {"properties", std::move(properties)}};
  auto text = object.dump(2) + "\n\n";
  // Whoever reads too slowly loses some, as with the original.
  [[maybe_unused]] auto ignored = ::write(to_.get(), text.data(), text.size());
}

}  // namespace attest::sims::cloud_hypervisor
