-- What passes through the folder of a system without an interface: ids and names of ours, never content.

-- Received alerts that were put into the folder, or held back from it. Dropped with the alert's evidence.
create table folder_out (
  inbox_seq bigint primary key,
  alert_id text not null,
  name text,                              -- of the file in out/, made of ids; null: it is held back
  copy_id text,                           -- in the register of copies
  held text,                              -- code of why no file was made
  at bigint not null,                     -- when it was put there, or held back last
  ended_at bigint,                        -- when the file was found to be taken, or was removed with its alert
  ended text                              -- taken, removed
);
create index folder_out_waiting on folder_out (inbox_seq) where ended_at is null;
create index folder_out_by_copy on folder_out (copy_id);

-- Alerts that came through the folder, so that what becomes of them is told there.
create table folder_in (
  alert_id text primary key,
  at bigint not null
);
create index folder_in_by_time on folder_in (at);
