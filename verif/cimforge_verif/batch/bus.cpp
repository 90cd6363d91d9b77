// A verilated tile on a bus behind a C interface: register accesses, packets, interrupt. Cycles
// pass inside of calls only. "top.h", written beside this file, names the model's class;
// cimforge_verif/batch/bus.py is the other side of every function here.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "top.h"
#include "verilated.h"

namespace {

using Bytes = std::vector<uint8_t>;

enum Channel { kAw, kW, kB, kAr, kR, kCommands, kWeights, kActs, kResults, kChannels };
constexpr int kInputs = 3;

// How a call ended. kBroken + channel: the channel dropped or changed what it offered before it was
// taken, or sent a beat of which only a part counts.
enum Status : uint64_t { kDone = 0, kSilent, kBroken };

// One bit per cycle, set where the channel waits; again from the first one after the last.
struct Stalls {
    Bytes bits;
    uint64_t cycles = 0;
    bool at(uint64_t cycle) const {
        if (!cycles) return false;
        cycle %= cycles;
        return bits[cycle >> 3] >> (cycle & 7) & 1;
    }
};

// TKEEP has a bit per byte, in whole bytes per beat.
struct Packet {
    Bytes data, keep;
    uint64_t beats;
};

// Verilator's integers and arrays of words are little-endian, so TDATA and TKEEP are bytes.
struct Stream {
    CData *valid, *ready, *last;
    void *data, *keep;
    uint64_t bytes;
    uint64_t keep_bytes() const { return (bytes + 7) / 8; }
};

struct Bus {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Top> top;
    Stream streams[kInputs + 1];  // the results come last
    CData *valid[kChannels], *ready[kChannels];
    Stalls stalls[kChannels];
    uint64_t cycles = 0;

    std::deque<Packet> queues[kInputs];
    uint64_t next[kInputs] = {};  // beat of the first packet
    bool asks[kChannels] = {};    // aw, w, ar: something is to be sent
    bool answered = false;
    uint32_t response = 0, data = 0;
    Bytes held[kChannels];  // what an output offered in the cycle before, and nobody took

    Bytes results;
    std::vector<uint64_t> lengths;  // beats of the packets that ended
    uint64_t open = 0;              // beats of the one that did not

    explicit Bus(const uint64_t* bytes) {
        context->randReset(0);
        context->threads(1);
        enter();
        top.reset(new Top{context.get()});
#define STREAM(name, size) \
    {&top->name##_tvalid, &top->name##_tready, &top->name##_tlast, &top->name##_tdata, \
     &top->name##_tkeep, size}
        streams[0] = STREAM(s_axis_commands, bytes[0]);
        streams[1] = STREAM(s_axis_weights, bytes[1]);
        streams[2] = STREAM(s_axis_acts, bytes[2]);
        streams[3] = STREAM(m_axis_results, bytes[3]);
#undef STREAM
#define CHANNEL(index, name) \
    valid[index] = &top->s_axil_##name##valid, ready[index] = &top->s_axil_##name##ready
        CHANNEL(kAw, aw);
        CHANNEL(kW, w);
        CHANNEL(kB, b);
        CHANNEL(kAr, ar);
        CHANNEL(kR, r);
#undef CHANNEL
        for (int i = 0; i <= kInputs; ++i) {
            valid[kCommands + i] = streams[i].valid;
            ready[kCommands + i] = streams[i].ready;
        }
        reset();
    }
    ~Bus() {
        enter();
        top->final();
        top.reset();
    }

    // Verilator finds the context of a model through the thread; any thread may run any bus.
    void enter() { Verilated::threadContextp(context.get()); }

    static bool is_output(int channel) {
        return channel == kB || channel == kR || channel == kResults;
    }

    void edge() {
        top->clk = 1;
        top->eval();
    }
    void settle() {
        top->clk = 0;
        top->eval();
    }

    // Everything starts anew, and everything queued is forgotten.
    void reset() {
        for (int i = 0; i < kChannels; ++i) {
            *(is_output(i) ? ready[i] : valid[i]) = 0;
            asks[i] = false;
            held[i].clear();
        }
        for (int i = 0; i < kInputs; ++i) {
            queues[i].clear();
            next[i] = 0;
        }
        results.clear();
        lengths.clear();
        open = 0;
        top->rst = 1;
        settle();
        for (int i = 0; i < 2; ++i) {
            edge();
            settle();
        }
        top->rst = 0;
        settle();
    }

    // What an output channel offers.
    Bytes offered(int channel) const {
        if (channel == kB) return Bytes(1, top->s_axil_bresp);
        if (channel == kR) {
            Bytes bytes(5, top->s_axil_rresp);
            std::memcpy(bytes.data(), &top->s_axil_rdata, 4);
            return bytes;
        }
        const Stream& s = streams[kInputs];
        Bytes bytes(s.bytes + s.keep_bytes() + 1, *s.last);
        std::memcpy(bytes.data(), s.data, s.bytes);
        std::memcpy(bytes.data() + s.bytes, s.keep, s.keep_bytes());
        return bytes;
    }

    // A valid stays, and what it offers stays the same, until it is taken.
    uint64_t watch(int channel) {
        Bytes now = *valid[channel] ? offered(channel) : Bytes{};
        if (!held[channel].empty() && held[channel] != now) return kBroken + channel;
        held[channel] = *ready[channel] ? Bytes{} : std::move(now);
        return kDone;
    }

    uint64_t take_result() {
        const Stream& s = streams[kInputs];
        const auto* keep = static_cast<const uint8_t*>(s.keep);
        const auto* bytes = static_cast<const uint8_t*>(s.data);
        uint64_t kept = 0;
        for (uint64_t i = 0; i < s.bytes; ++i) kept += keep[i >> 3] >> (i & 7) & 1;
        if (kept && kept != s.bytes) return kBroken + kResults;
        if (kept) {
            results.insert(results.end(), bytes, bytes + s.bytes);
            ++open;
        }
        if (*s.last) {
            lengths.push_back(open);
            open = 0;
        }
        return kDone;
    }

    // What left the tile in this cycle.
    uint64_t take(const bool* moved) {
        for (int channel : {kB, kR, kResults})
            if (uint64_t status = watch(channel)) return status;
        if (moved[kB]) {
            response = top->s_axil_bresp;
            answered = true;
        }
        if (moved[kR]) {
            response = top->s_axil_rresp;
            data = top->s_axil_rdata;
            answered = true;
        }
        return moved[kResults] ? take_result() : uint64_t{kDone};
    }

    void offer_stream(int i, bool moved, bool wait) {
        const Stream& s = streams[i];
        std::deque<Packet>& queue = queues[i];
        if (*s.valid && !moved) return;
        if (moved && ++next[i] == queue.front().beats) {
            queue.pop_front();
            next[i] = 0;
        }
        *s.valid = !wait && !queue.empty();
        if (!*s.valid) return;
        const Packet& packet = queue.front();
        std::memcpy(s.data, packet.data.data() + next[i] * s.bytes, s.bytes);
        std::memcpy(s.keep, packet.keep.data() + next[i] * s.keep_bytes(), s.keep_bytes());
        *s.last = next[i] + 1 == packet.beats;
    }

    // One rising edge: what was on the ports before it moves; what is driven changes after it.
    uint64_t cycle() {
        bool moved[kChannels];
        for (int i = 0; i < kChannels; ++i) moved[i] = *valid[i] && *ready[i];
        const uint64_t status = take(moved);
        edge();
        for (int i = 0; i < kChannels; ++i) {
            const bool wait = stalls[i].at(cycles);
            if (is_output(i)) {
                *ready[i] = !wait;
            } else if (i >= kCommands) {
                offer_stream(i - kCommands, moved[i], wait);
            } else if (!*valid[i] || moved[i]) {
                asks[i] = asks[i] && !moved[i];
                *valid[i] = asks[i] && !wait;
            }
        }
        settle();
        ++cycles;
        return status;
    }

    uint64_t until_answered(uint64_t limit) {
        answered = false;
        for (uint64_t i = 0; i < limit; ++i) {
            if (uint64_t status = cycle()) return status;
            if (answered) return kDone;
        }
        return kSilent;
    }
};

}  // namespace

extern "C" {

// Bytes of a beat of commands, weights, acts and results.
Bus* bus_new(const uint64_t* bytes) { return new Bus{bytes}; }

void bus_delete(Bus* bus) { delete bus; }

void bus_reset(Bus* bus) {
    bus->enter();
    bus->reset();
}

void bus_stall(Bus* bus, uint64_t channel, const uint8_t* bits, uint64_t cycles) {
    bus->stalls[channel].bits.assign(bits, bits + (cycles + 7) / 8);
    bus->stalls[channel].cycles = cycles;
}

uint64_t bus_read(Bus* bus, uint32_t address, uint64_t limit, uint32_t* answer) {
    bus->enter();
    bus->top->s_axil_araddr = address;
    bus->asks[kAr] = true;
    const uint64_t status = bus->until_answered(limit);
    answer[0] = bus->response;
    answer[1] = bus->data;
    return status;
}

uint64_t bus_write(Bus* bus, uint32_t address, uint32_t value, uint32_t strobe, uint64_t limit,
                   uint32_t* answer) {
    bus->enter();
    bus->top->s_axil_awaddr = address;
    bus->top->s_axil_wdata = value;
    bus->top->s_axil_wstrb = strobe;
    bus->asks[kAw] = bus->asks[kW] = true;
    const uint64_t status = bus->until_answered(limit);
    answer[0] = bus->response;
    return status;
}

void bus_send(Bus* bus, uint64_t stream, const uint8_t* data, const uint8_t* keep, uint64_t beats) {
    const Stream& s = bus->streams[stream];
    bus->queues[stream].push_back(Packet{Bytes(data, data + beats * s.bytes),
                                         Bytes(keep, keep + beats * s.keep_bytes()), beats});
}

// Let cycles pass, or fewer if irq is high before one of them; *raised says whether it was.
uint64_t bus_step(Bus* bus, uint64_t cycles, uint64_t until_irq, uint64_t* raised) {
    bus->enter();
    *raised = 0;
    for (uint64_t i = 0; i < cycles; ++i) {
        *raised = until_irq && bus->top->irq;
        if (uint64_t status = bus->cycle()) return status;
        if (*raised) break;
    }
    return kDone;
}

// Result packets that ended.
uint64_t bus_packets(const Bus* bus) { return bus->lengths.size(); }

// The beats of one of them, from the first packet on.
uint64_t bus_beats(const Bus* bus, uint64_t packet) { return bus->lengths[packet]; }

// Hand over the data of the first packet, and forget it.
void bus_take(Bus* bus, uint8_t* to) {
    const uint64_t bytes = bus->lengths.front() * bus->streams[kInputs].bytes;
    std::copy_n(bus->results.begin(), bytes, to);
    bus->results.erase(bus->results.begin(), bus->results.begin() + bytes);
    bus->lengths.erase(bus->lengths.begin());
}

uint64_t bus_cycles(const Bus* bus) { return bus->cycles; }

}  // extern "C"
