// The library's handles as owners that drop their reference.
#ifndef TOOLS_CLI_HANDLES_H
#define TOOLS_CLI_HANDLES_H

#include <pulseengine/pulse.h>

#include <memory>

namespace cli {

template <typename T, void (*unref)(T*)>
struct Unref {
  void operator()(T* handle) const { unref(handle); }
};

using EngineHandle = std::unique_ptr<pulse_engine, Unref<pulse_engine, pulse_engine_unref>>;
using QueueHandle = std::unique_ptr<pulse_queue, Unref<pulse_queue, pulse_queue_unref>>;
using StreamHandle = std::unique_ptr<pulse_stream, Unref<pulse_stream, pulse_stream_unref>>;
using ReaderHandle = std::unique_ptr<pulse_reader, Unref<pulse_reader, pulse_reader_unref>>;
using MapHandle = std::unique_ptr<pulse_map, Unref<pulse_map, pulse_map_unref>>;
using SnapshotHandle =
    std::unique_ptr<pulse_map_snapshot, Unref<pulse_map_snapshot, pulse_map_snapshot_unref>>;
using WatchHandle = std::unique_ptr<pulse_map_watch, Unref<pulse_map_watch, pulse_map_watch_unref>>;
using ListHandle = std::unique_ptr<pulse_list, Unref<pulse_list, pulse_list_unref>>;
using BytesHandle = std::unique_ptr<pulse_bytes, Unref<pulse_bytes, pulse_bytes_unref>>;
using SinkHandle = std::unique_ptr<pulse_sink, Unref<pulse_sink, pulse_sink_unref>>;
using NodeHandle = std::unique_ptr<pulse_node, Unref<pulse_node, pulse_node_unref>>;
using WorkerHandle = std::unique_ptr<pulse_worker, Unref<pulse_worker, pulse_worker_unref>>;
using TickerHandle = std::unique_ptr<pulse_ticker, Unref<pulse_ticker, pulse_ticker_unref>>;
using JobHandle = std::unique_ptr<pulse_job, Unref<pulse_job, pulse_job_unref>>;
using PoolSnapshotHandle =
    std::unique_ptr<pulse_pool_snapshot, Unref<pulse_pool_snapshot, pulse_pool_snapshot_unref>>;

}  // namespace cli

#endif
