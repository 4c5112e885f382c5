//! Tests of rotations that need no process: jobs, their tokens, and who may hold them; an index root replaced under load.

mod directory_key;
mod jobs;
mod subjects;
