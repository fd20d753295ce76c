// The memory that data is read into on its way to the host.
#pragma once
#include "lib/proto/agent_codec.h"

#include <cstddef>
#include <string_view>

namespace attest::agent {

/// As much as one data frame takes.
inline constexpr std::size_t piece_size = proto::agent_data_limit;

/// One for all, used within one callback only. Output::data() sends what lies in it without another
/// copy, if the host takes it at once.
char* piece_buffer();

/// The start of a frame with `head` before `bytes`, or null if these do not lie in piece_buffer().
const char* framed_in_place(std::string_view head, std::string_view bytes);

}  // namespace attest::agent
