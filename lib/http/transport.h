// Internal: the bytes below HTTP, as a connection sees them: plain TCP, or TLS over it (tls.h),
// where reading may have to wait for "writable" inside.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <functional>

namespace tocsin::http {

// On one I/O thread.
class Transport {
 public:
  enum class Result { kOk, kWouldBlock, kEnd, kError };
  struct Transfer {
    Result result;
    std::size_t bytes;
  };

  virtual ~Transport() = default;
  // Neither blocks.
  virtual Transfer Read(char* buffer, std::size_t size) = 0;
  virtual Transfer Write(const iovec* buffers, int count) = 0;
  // Calls back once; not after Close or Abort.
  virtual void WhenReadable(std::function<void()> ready) = 0;
  virtual void WhenWritable(std::function<void()> ready) = 0;
  // Tells the peer that nothing more comes.
  virtual void ShutdownSend() = 0;
  virtual void Close() = 0;
  // Close that throws away what was written and is not sent, instead of leaving it with the kernel
  // for as long as the peer likes.
  virtual void Abort() = 0;
};

}  // namespace tocsin::http
