DROP TRIGGER audit_entry_is_insert_only ON backoffice_audit_entry;
DROP FUNCTION backoffice_refuse_change();
