//! Tests of rotations that need no process: jobs, their tokens, and who may hold them.

mod jobs;
