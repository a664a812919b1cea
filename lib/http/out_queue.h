// Internal: bytes on their way to a socket; small pieces are copied together, large ones are kept
// as they are.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "lib/http/message.h"

namespace tocsin::http {

class OutQueue {
 public:
  // Below this a copy costs less than an entry of its own in writev.
  static constexpr std::size_t kCopyBelow = 512;

  void Append(std::string_view bytes) {
    if (bytes.empty()) return;
    if (pieces_.empty() || !pieces_.back().open) {
      pieces_.emplace_back();
      pieces_.back().open = true;
    }
    pieces_.back().text.append(bytes);
    size_ += bytes.size();
  }

  void Append(Slice slice) {
    if (slice.size() < kCopyBelow) return Append(slice.view());
    size_ += slice.size();
    pieces_.emplace_back();
    pieces_.back().slice = std::move(slice);
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Fills up to `capacity` entries; returns how many.
  int Gather(iovec* buffers, int capacity) const {
    int count = 0;
    for (const Piece& piece : pieces_) {
      if (count == capacity) break;
      const std::string_view bytes = piece.view();
      buffers[count].iov_base = const_cast<char*>(bytes.data());
      buffers[count].iov_len = bytes.size();
      ++count;
    }
    return count;
  }

  void Consume(std::size_t bytes) {
    size_ -= bytes;
    while (bytes > 0) {
      Piece& front = pieces_.front();
      const std::size_t here = front.view().size();
      if (bytes < here) {
        front.offset += bytes;
        return;
      }
      bytes -= here;
      pieces_.pop_front();
    }
  }

 private:
  struct Piece {
    std::string text;
    Slice slice;
    std::size_t offset = 0;
    bool open = false;
    std::string_view view() const { return (open ? text : slice.view()).substr(offset); }
  };
  std::deque<Piece> pieces_;
  std::size_t size_ = 0;
};

}  // namespace tocsin::http
