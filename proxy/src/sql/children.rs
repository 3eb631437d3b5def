//! The children of each node of the grammar. Exhaustive without a default: a grammar that adds a
//! node does not compile until the node has a line here.

use pg_raw_parse::{Node, list, nodes};

/// Nodes still to be visited.
pub(super) struct Pending<'a>(Vec<Node<'a>>);

impl<'a> Pending<'a> {
    fn node(&mut self, node: Node<'a>) -> &mut Self {
        if !matches!(node, Node::None) {
            self.0.push(node);
        }
        self
    }

    fn list(&mut self, nodes: &'a list::NodeList) -> &mut Self {
        self.0.extend(nodes.iter());
        self
    }

    fn typed<T>(&mut self, nodes: &'a list::CastNodeList<T>) -> &mut Self
    where
        &'a list::CastNodeList<T>: IntoIterator<Item = &'a T>,
        Node<'a>: From<&'a T>,
    {
        self.0.extend(nodes.into_iter().map(Node::from));
        self
    }

    fn option<T>(&mut self, node: Option<&'a T>) -> &mut Self
    where
        Node<'a>: From<&'a T>,
    {
        self.0.extend(node.map(Node::from));
        self
    }
}

/// A node that the parser does not make, only PostgreSQL's own analysis: its presence means that
/// the tree is not understood.
#[derive(Debug)]
pub(super) struct NotFromParser;

/// Visits `root` and all below it, without recursion: depth costs memory, not stack.
pub(super) fn walk<'a, E: From<NotFromParser>>(
    root: Node<'a>,
    mut visit: impl FnMut(Node<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut pending = Pending(vec![root]);
    while let Some(node) = pending.0.pop() {
        visit(node)?;
        push_children(node, &mut pending)?;
    }
    Ok(())
}

/// The direct children of `node`.
pub(super) fn of<'a>(node: Node<'a>) -> Result<Vec<Node<'a>>, NotFromParser> {
    let mut pending = Pending(Vec::new());
    push_children(node, &mut pending)?;
    Ok(pending.0)
}

#[rustfmt::skip]
fn push_children<'a>(node: Node<'a>, into: &mut Pending<'a>) -> Result<(), NotFromParser> {
    match node {
        Node::NodeList(n) => into.list(n),
        Node::Alias(n) => into.list(n.colnames()),
        Node::RangeVar(n) => into.option(n.alias()),
        Node::IntoClause(n) => into.option(n.rel()).list(n.col_names()).list(n.options()).option(n.view_query()),
        Node::GroupingFunc(n) => into.list(n.args()).list(n.refs()).list(n.cols()),
        Node::NamedArgExpr(n) => into.node(n.arg()),
        Node::BoolExpr(n) => into.list(n.args()),
        Node::SubLink(n) => into.node(n.testexpr()).list(n.oper_name()).node(n.subselect()),
        Node::CaseExpr(n) => into.node(n.arg()).list(n.args()).node(n.defresult()),
        Node::CaseWhen(n) => into.node(n.expr()).node(n.result()),
        Node::RowExpr(n) => into.list(n.args()).typed(n.colnames()),
        Node::CoalesceExpr(n) => into.list(n.args()),
        Node::MinMaxExpr(n) => into.list(n.args()),
        Node::XmlExpr(n) => into.list(n.named_args()).typed(n.arg_names()).list(n.args()),
        Node::JsonReturning(n) => into.option(n.format()),
        Node::JsonValueExpr(n) => into.node(n.raw_expr()).node(n.formatted_expr()).option(n.format()),
        Node::JsonIsPredicate(n) => into.node(n.expr()).option(n.format()),
        Node::JsonBehavior(n) => into.node(n.expr()),
        Node::NullTest(n) => into.node(n.arg()),
        Node::BooleanTest(n) => into.node(n.arg()),
        Node::JoinExpr(n) => into.node(n.larg()).node(n.rarg()).typed(n.using_clause()).option(n.join_using_alias()).node(n.quals()).option(n.alias()),
        Node::TypeName(n) => into.typed(n.names()).list(n.typmods()).list(n.array_bounds()),
        Node::ColumnRef(n) => into.list(n.fields()),
        Node::A_Expr(n) => into.list(n.name()).node(n.lexpr()).node(n.rexpr()),
        Node::TypeCast(n) => into.node(n.arg()).option(n.type_name()),
        Node::CollateClause(n) => into.node(n.arg()).list(n.collname()),
        Node::FuncCall(n) => into.list(n.funcname()).list(n.args()).typed(n.agg_order()).node(n.agg_filter()).option(n.over()),
        Node::A_Indices(n) => into.node(n.lidx()).node(n.uidx()),
        Node::A_Indirection(n) => into.node(n.arg()).list(n.indirection()),
        Node::A_ArrayExpr(n) => into.list(n.elements()),
        Node::ResTarget(n) => into.list(n.indirection()).node(n.val()),
        Node::MultiAssignRef(n) => into.node(n.source()),
        Node::SortBy(n) => into.node(n.node()).list(n.use_op()),
        Node::WindowDef(n) => into.list(n.partition_clause()).typed(n.order_clause()).node(n.start_offset()).node(n.end_offset()),
        Node::RangeSubselect(n) => into.node(n.subquery()).option(n.alias()),
        Node::RangeFunction(n) => into.list(n.functions()).option(n.alias()).typed(n.coldeflist()),
        Node::RangeTableFunc(n) => into.node(n.docexpr()).node(n.rowexpr()).list(n.namespaces()).typed(n.columns()).option(n.alias()),
        Node::RangeTableFuncCol(n) => into.option(n.type_name()).node(n.colexpr()).node(n.coldefexpr()),
        Node::RangeTableSample(n) => into.node(n.relation()).list(n.method()).list(n.args()).node(n.repeatable()),
        Node::ColumnDef(n) => into.option(n.type_name()).node(n.raw_default()).node(n.cooked_default()).option(n.identity_sequence()).option(n.coll_clause()).list(n.constraints()).list(n.fdwoptions()),
        Node::TableLikeClause(n) => into.option(n.relation()),
        Node::IndexElem(n) => into.node(n.expr()).list(n.collation()).list(n.opclass()).list(n.opclassopts()),
        Node::DefElem(n) => into.node(n.arg()),
        Node::LockingClause(n) => into.list(n.locked_rels()),
        Node::XmlSerialize(n) => into.node(n.expr()).option(n.type_name()),
        Node::PartitionElem(n) => into.node(n.expr()).list(n.collation()).list(n.opclass()),
        Node::PartitionSpec(n) => into.typed(n.part_params()),
        Node::PartitionBoundSpec(n) => into.list(n.listdatums()).list(n.lowerdatums()).list(n.upperdatums()),
        Node::PartitionRangeDatum(n) => into.node(n.value()),
        Node::PartitionCmd(n) => into.option(n.name()).option(n.bound()),
        Node::GroupingSet(n) => into.list(n.content()),
        Node::WithClause(n) => into.typed(n.ctes()),
        Node::InferClause(n) => into.list(n.index_elems()).node(n.where_clause()),
        Node::OnConflictClause(n) => into.option(n.infer()).typed(n.target_list()).node(n.where_clause()),
        Node::CTESearchClause(n) => into.list(n.search_col_list()),
        Node::CTECycleClause(n) => into.list(n.cycle_col_list()).node(n.cycle_mark_value()).node(n.cycle_mark_default()),
        Node::CommonTableExpr(n) => into.list(n.aliascolnames()).node(n.ctequery()).option(n.search_clause()).option(n.cycle_clause()).list(n.ctecolnames()),
        Node::MergeWhenClause(n) => into.node(n.condition()).list(n.target_list()).list(n.values()),
        Node::ReturningClause(n) => into.typed(n.options()).list(n.exprs()),
        Node::JsonOutput(n) => into.option(n.type_name()).option(n.returning()),
        Node::JsonArgument(n) => into.option(n.val()),
        Node::JsonFuncExpr(n) => into.option(n.context_item()).node(n.pathspec()).list(n.passing()).option(n.output()).option(n.on_empty()).option(n.on_error()),
        Node::JsonTablePathSpec(n) => into.node(n.string()),
        Node::JsonTable(n) => into.option(n.context_item()).option(n.pathspec()).list(n.passing()).typed(n.columns()).option(n.on_error()).option(n.alias()),
        Node::JsonTableColumn(n) => into.option(n.type_name()).option(n.pathspec()).option(n.format()).list(n.columns()).option(n.on_empty()).option(n.on_error()),
        Node::JsonKeyValue(n) => into.node(n.key()).option(n.value()),
        Node::JsonParseExpr(n) => into.option(n.expr()).option(n.output()),
        Node::JsonScalarExpr(n) => into.node(n.expr()).option(n.output()),
        Node::JsonSerializeExpr(n) => into.option(n.expr()).option(n.output()),
        Node::JsonObjectConstructor(n) => into.typed(n.exprs()).option(n.output()),
        Node::JsonArrayConstructor(n) => into.typed(n.exprs()).option(n.output()),
        Node::JsonArrayQueryConstructor(n) => into.node(n.query()).option(n.output()).option(n.format()),
        Node::JsonAggConstructor(n) => into.option(n.output()).node(n.agg_filter()).list(n.agg_order()).option(n.over()),
        Node::JsonObjectAgg(n) => into.option(n.arg()),
        Node::JsonArrayAgg(n) => into.option(n.arg()),
        Node::RawStmt(n) => into.node(n.stmt()),
        Node::InsertStmt(n) => into.option(n.relation()).list(n.cols()).node(n.select_stmt()).option(n.on_conflict_clause()).option(n.returning_clause()).option(n.with_clause()),
        Node::DeleteStmt(n) => into.option(n.relation()).list(n.using_clause()).node(n.where_clause()).option(n.returning_clause()).option(n.with_clause()),
        Node::UpdateStmt(n) => into.option(n.relation()).typed(n.target_list()).node(n.where_clause()).list(n.from_clause()).option(n.returning_clause()).option(n.with_clause()),
        Node::MergeStmt(n) => into.option(n.relation()).node(n.source_relation()).node(n.join_condition()).typed(n.merge_when_clauses()).option(n.returning_clause()).option(n.with_clause()),
        Node::SelectStmt(n) => into.list(n.distinct_clause()).option(n.into_clause()).typed(n.target_list()).list(n.from_clause()).node(n.where_clause()).list(n.group_clause()).node(n.having_clause()).list(n.window_clause()).list(n.values_lists()).typed(n.sort_clause()).node(n.limit_offset()).node(n.limit_count()).typed(n.locking_clause()).option(n.with_clause()).option(n.larg()).option(n.rarg()),
        Node::SetOperationStmt(n) => into.node(n.larg()).node(n.rarg()).list(n.col_types()).typed(n.group_clauses()),
        Node::ReturnStmt(n) => into.node(n.returnval()),
        Node::PLAssignStmt(n) => into.list(n.indirection()).option(n.val()),
        Node::CreateSchemaStmt(n) => into.option(n.authrole()).list(n.schema_elts()),
        Node::AlterTableStmt(n) => into.option(n.relation()).list(n.cmds()),
        Node::AlterTableCmd(n) => into.option(n.newowner()).node(n.def()),
        Node::AlterCollationStmt(n) => into.list(n.collname()),
        Node::AlterDomainStmt(n) => into.list(n.type_name()).node(n.def()),
        // The objects are relations only if relations are named; else names of other things.
        Node::GrantStmt(n) if names_relations(n) => into.typed(n.objects()).typed(n.privileges()).typed(n.grantees()).option(n.grantor()),
        Node::GrantStmt(n) => into.typed(n.privileges()).typed(n.grantees()).option(n.grantor()),
        Node::ObjectWithArgs(n) => into.list(n.objname()).list(n.objargs()).typed(n.objfuncargs()),
        Node::AccessPriv(n) => into.typed(n.cols()),
        Node::GrantRoleStmt(n) => into.list(n.granted_roles()).list(n.grantee_roles()).list(n.opt()).option(n.grantor()),
        Node::AlterDefaultPrivilegesStmt(n) => into.typed(n.options()).option(n.action()),
        Node::CopyStmt(n) => into.option(n.relation()).node(n.query()).list(n.attlist()).typed(n.options()).node(n.where_clause()),
        Node::VariableSetStmt(n) => into.list(n.args()),
        Node::CreateStmt(n) => into.option(n.relation()).list(n.table_elts()).list(n.inh_relations()).option(n.partbound()).option(n.partspec()).option(n.of_typename()).typed(n.constraints()).list(n.nnconstraints()).list(n.options()),
        Node::Constraint(n) => into.node(n.raw_expr()).list(n.keys()).list(n.including()).list(n.exclusions()).list(n.options()).node(n.where_clause()).option(n.pktable()).list(n.fk_attrs()).list(n.pk_attrs()).list(n.fk_del_set_cols()).list(n.old_conpfeqop()),
        Node::CreateTableSpaceStmt(n) => into.option(n.owner()).list(n.options()),
        Node::AlterTableSpaceOptionsStmt(n) => into.list(n.options()),
        Node::AlterTableMoveAllStmt(n) => into.list(n.roles()),
        Node::CreateExtensionStmt(n) => into.typed(n.options()),
        Node::AlterExtensionStmt(n) => into.typed(n.options()),
        Node::AlterExtensionContentsStmt(n) => into.node(n.object()),
        Node::CreateFdwStmt(n) => into.list(n.func_options()).list(n.options()),
        Node::AlterFdwStmt(n) => into.list(n.func_options()).list(n.options()),
        Node::CreateForeignServerStmt(n) => into.list(n.options()),
        Node::AlterForeignServerStmt(n) => into.list(n.options()),
        Node::CreateUserMappingStmt(n) => into.option(n.user()).list(n.options()),
        Node::AlterUserMappingStmt(n) => into.option(n.user()).list(n.options()),
        Node::DropUserMappingStmt(n) => into.option(n.user()),
        Node::ImportForeignSchemaStmt(n) => into.typed(n.table_list()).list(n.options()),
        Node::CreatePolicyStmt(n) => into.option(n.table()).list(n.roles()).node(n.qual()).node(n.with_check()),
        Node::AlterPolicyStmt(n) => into.option(n.table()).list(n.roles()).node(n.qual()).node(n.with_check()),
        Node::CreateAmStmt(n) => into.list(n.handler_name()),
        Node::CreateTrigStmt(n) => into.option(n.relation()).list(n.funcname()).typed(n.args()).list(n.columns()).node(n.when_clause()).list(n.transition_rels()).option(n.constrrel()),
        Node::CreateEventTrigStmt(n) => into.typed(n.whenclause()).list(n.funcname()),
        Node::CreatePLangStmt(n) => into.list(n.plhandler()).list(n.plinline()).list(n.plvalidator()),
        Node::CreateRoleStmt(n) => into.typed(n.options()),
        Node::AlterRoleStmt(n) => into.option(n.role()).typed(n.options()),
        Node::AlterRoleSetStmt(n) => into.option(n.role()).option(n.setstmt()),
        Node::DropRoleStmt(n) => into.list(n.roles()),
        Node::CreateSeqStmt(n) => into.option(n.sequence()).list(n.options()),
        Node::AlterSeqStmt(n) => into.option(n.sequence()).list(n.options()),
        Node::DefineStmt(n) => into.typed(n.defnames()).list(n.args()).typed(n.definition()),
        Node::CreateDomainStmt(n) => into.typed(n.domainname()).option(n.type_name()).option(n.coll_clause()).typed(n.constraints()),
        Node::CreateOpClassStmt(n) => into.typed(n.opclassname()).list(n.opfamilyname()).option(n.datatype()).typed(n.items()),
        Node::CreateOpClassItem(n) => into.option(n.name()).list(n.order_family()).list(n.class_args()).option(n.storedtype()),
        Node::CreateOpFamilyStmt(n) => into.typed(n.opfamilyname()),
        Node::AlterOpFamilyStmt(n) => into.typed(n.opfamilyname()).typed(n.items()),
        Node::DropStmt(n) => into.list(n.objects()),
        Node::TruncateStmt(n) => into.list(n.relations()),
        Node::CommentStmt(n) => into.node(n.object()),
        Node::SecLabelStmt(n) => into.node(n.object()),
        Node::DeclareCursorStmt(n) => into.node(n.query()),
        Node::IndexStmt(n) => into.option(n.relation()).typed(n.index_params()).list(n.index_including_params()).typed(n.options()).node(n.where_clause()).list(n.exclude_op_names()),
        Node::CreateStatsStmt(n) => into.typed(n.defnames()).typed(n.stat_types()).list(n.exprs()).typed(n.relations()),
        Node::StatsElem(n) => into.node(n.expr()),
        Node::AlterStatsStmt(n) => into.typed(n.defnames()).node(n.stxstattarget()),
        Node::CreateFunctionStmt(n) => into.list(n.funcname()).typed(n.parameters()).option(n.return_type()).typed(n.options()).node(n.sql_body()),
        Node::FunctionParameter(n) => into.option(n.arg_type()).node(n.defexpr()),
        Node::AlterFunctionStmt(n) => into.option(n.func()).typed(n.actions()),
        Node::DoStmt(n) => into.typed(n.args()),
        Node::CallStmt(n) => into.option(n.funccall()).option(n.funcexpr()).list(n.outargs()),
        Node::RenameStmt(n) => into.option(n.relation()).node(n.object()),
        Node::AlterObjectDependsStmt(n) => into.option(n.relation()).node(n.object()).option(n.extname()),
        Node::AlterObjectSchemaStmt(n) => into.option(n.relation()).node(n.object()),
        Node::AlterOwnerStmt(n) => into.option(n.relation()).node(n.object()).option(n.newowner()),
        Node::AlterOperatorStmt(n) => into.option(n.opername()).typed(n.options()),
        Node::AlterTypeStmt(n) => into.list(n.type_name()).typed(n.options()),
        Node::RuleStmt(n) => into.option(n.relation()).node(n.where_clause()).list(n.actions()),
        Node::TransactionStmt(n) => into.list(n.options()),
        Node::CompositeTypeStmt(n) => into.option(n.typevar()).typed(n.coldeflist()),
        Node::CreateEnumStmt(n) => into.typed(n.type_name()).typed(n.vals()),
        Node::CreateRangeStmt(n) => into.typed(n.type_name()).typed(n.params()),
        Node::AlterEnumStmt(n) => into.typed(n.type_name()),
        Node::ViewStmt(n) => into.option(n.view()).list(n.aliases()).node(n.query()).list(n.options()),
        Node::CreatedbStmt(n) => into.typed(n.options()),
        Node::AlterDatabaseStmt(n) => into.typed(n.options()),
        Node::AlterDatabaseSetStmt(n) => into.option(n.setstmt()),
        Node::DropdbStmt(n) => into.list(n.options()),
        Node::AlterSystemStmt(n) => into.option(n.setstmt()),
        Node::ClusterStmt(n) => into.option(n.relation()).typed(n.params()),
        Node::VacuumStmt(n) => into.typed(n.options()).typed(n.rels()),
        Node::VacuumRelation(n) => into.option(n.relation()).list(n.va_cols()),
        Node::ExplainStmt(n) => into.node(n.query()).typed(n.options()),
        Node::CreateTableAsStmt(n) => into.node(n.query()).option(n.into()),
        Node::RefreshMatViewStmt(n) => into.option(n.relation()),
        Node::LockStmt(n) => into.list(n.relations()),
        Node::ConstraintsSetStmt(n) => into.list(n.constraints()),
        Node::ReindexStmt(n) => into.option(n.relation()).typed(n.params()),
        Node::CreateConversionStmt(n) => into.list(n.conversion_name()).list(n.func_name()),
        Node::CreateCastStmt(n) => into.option(n.sourcetype()).option(n.targettype()).option(n.func()),
        Node::CreateTransformStmt(n) => into.option(n.type_name()).option(n.fromsql()).option(n.tosql()),
        Node::PrepareStmt(n) => into.typed(n.argtypes()).node(n.query()),
        Node::ExecuteStmt(n) => into.list(n.params()),
        Node::DropOwnedStmt(n) => into.list(n.roles()),
        Node::ReassignOwnedStmt(n) => into.list(n.roles()).option(n.newrole()),
        Node::AlterTSDictionaryStmt(n) => into.typed(n.dictname()).typed(n.options()),
        Node::AlterTSConfigurationStmt(n) => into.typed(n.cfgname()).list(n.tokentype()).list(n.dicts()),
        Node::PublicationTable(n) => into.option(n.relation()).node(n.where_clause()).list(n.columns()),
        Node::PublicationObjSpec(n) => into.option(n.pubtable()),
        Node::CreatePublicationStmt(n) => into.typed(n.options()).list(n.pubobjects()),
        Node::AlterPublicationStmt(n) => into.typed(n.options()).list(n.pubobjects()),
        Node::CreateSubscriptionStmt(n) => into.list(n.publication()).typed(n.options()),
        Node::AlterSubscriptionStmt(n) => into.list(n.publication()).typed(n.options()),
        Node::None | Node::MergeSupportFunc(_) | Node::SQLValueFunction(_) | Node::JsonFormat(_)
        | Node::SetToDefault(_) | Node::CurrentOfExpr(_) | Node::Integer(_) | Node::Float(_)
        | Node::Boolean(_) | Node::String(_) | Node::BitString(_) | Node::ParamRef(_) | Node::RoleSpec(_)
        | Node::A_Star(_) | Node::ReturningOption(_) | Node::TriggerTransition(_)
        | Node::ATAlterConstraint(_) | Node::ReplicaIdentityStmt(_) | Node::VariableShowStmt(_)
        | Node::DropTableSpaceStmt(_) | Node::AlterEventTrigStmt(_) | Node::ClosePortalStmt(_)
        | Node::FetchStmt(_) | Node::NotifyStmt(_) | Node::ListenStmt(_) | Node::UnlistenStmt(_)
        | Node::LoadStmt(_) | Node::AlterDatabaseRefreshCollStmt(_) | Node::CheckPointStmt(_)
        | Node::DiscardStmt(_) | Node::DeallocateStmt(_) | Node::DropSubscriptionStmt(_) | Node::A_Const(_) => into,
        Node::Param(_) | Node::Aggref(_) | Node::WindowFunc(_) | Node::WindowFuncRunCondition(_)
        | Node::SubscriptingRef(_) | Node::FuncExpr(_) | Node::OpExpr(_) | Node::ScalarArrayOpExpr(_)
        | Node::SubPlan(_) | Node::AlternativeSubPlan(_) | Node::FieldSelect(_) | Node::FieldStore(_)
        | Node::CoerceViaIO(_) | Node::ArrayCoerceExpr(_) | Node::ConvertRowtypeExpr(_)
        | Node::CollateExpr(_) | Node::ArrayExpr(_) | Node::RowCompareExpr(_) | Node::CaseTestExpr(_)
        | Node::JsonConstructorExpr(_) | Node::JsonExpr(_) | Node::CoerceToDomain(_)
        | Node::CoerceToDomainValue(_) | Node::NextValueExpr(_) | Node::InferenceElem(_)
        | Node::ReturningExpr(_) | Node::TargetEntry(_) | Node::RangeTblRef(_) | Node::FromExpr(_)
        | Node::OnConflictExpr(_) | Node::MergeAction(_) | Node::TableFunc(_) | Node::Query(_)
        | Node::RangeTblEntry(_) | Node::RTEPermissionInfo(_) | Node::RangeTblFunction(_)
        | Node::TableSampleClause(_) | Node::WithCheckOption(_) | Node::SortGroupClause(_)
        | Node::WindowClause(_) | Node::RowMarkClause(_) | Node::CallContext(_) | Node::InlineCodeBlock(_)
        | Node::Invalid(_) | Node::Bitmapset(_) => return Err(NotFromParser),
    };
    Ok(())
}

fn names_relations(grant: &nodes::GrantStmt) -> bool {
    grant.targtype == nodes::GrantTargetType::ACL_TARGET_OBJECT
        && matches!(grant.objtype, nodes::ObjectType::OBJECT_TABLE | nodes::ObjectType::OBJECT_SEQUENCE)
}
