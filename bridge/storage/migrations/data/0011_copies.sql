-- The copy register: which received alert left the node, for whom, in which form, and whether that copy is destroyed.
-- Nothing of what was in it. Kept as long as the audit log says such things are (retention class AUDIT).
create table copies (
  id text primary key,                    -- random; what whoever has the copy names it by
  seq bigint not null,                    -- increasing; the order in which they were made
  alert_id text not null,
  reference text not null,
  at bigint not null,
  actor text not null,                    -- pseudonym of who asked for it
  team text,                              -- function of the token that asked; null: of none
  format text not null,                   -- a name of bridge/formats
  profile text,                           -- the mapping profile, if one was used
  consulted bigint not null,              -- 1: whoever asked said that the sender was asked before
  retain_until bigint not null,           -- end of the last day on which it may be kept, as it stood then
  noticed_at bigint,                      -- when the alert was deleted here, and the copy had to go
  notice text,                            -- why: expired, withdrawn
  ended_at bigint,                        -- when it was said that the copy is gone
  ended_by text,                          -- pseudonym
  ended text                              -- destroyed, adopted (it is part of a record of the case system by now)
);
create index copies_by_seq on copies (seq);
create index copies_by_alert on copies (alert_id);
create index copies_due on copies (noticed_at, seq) where noticed_at is not null and ended_at is null;
create index copies_over on copies (ended_at) where ended_at is not null;
