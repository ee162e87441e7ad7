//! What every backend shares: legality with reasons, support tables, partitions.
