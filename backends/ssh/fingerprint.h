// Names of keys, as ssh-keygen -l prints them. Pure.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace attest::ssh {

/// "SHA256:" and the hash of `key` (the bytes that the protocol sends), in base64 without padding.
std::string fingerprint(std::string_view key);

/// The type that `key` begins with: "ssh-ed25519"; "" for what is no key.
std::string key_type(std::string_view key);

std::array<std::uint8_t, 32> sha256(std::string_view bytes);
std::string base64(std::string_view bytes);
/// nullopt for what is no base64. Line ends are passed over.
std::optional<std::string> from_base64(std::string_view text);

/// Takes the strings of SSH's wire format, each behind its length, off the front of `bytes`.
std::optional<std::string_view> take_string(std::string_view& bytes);
/// Takes a number of 4 bytes off the front.
std::optional<std::uint32_t> take_number(std::string_view& bytes);
void put_number(std::string& bytes, std::uint32_t number);
void put_string(std::string& bytes, std::string_view text);

}  // namespace attest::ssh
